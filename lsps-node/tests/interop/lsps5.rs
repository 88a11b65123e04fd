//! LSPS5, and errors of all protocols, with the message types of both sides.

use lightning_liquidity::lsps0::ser::{LSPSMessage, LSPSRequestId, LSPSResponseError};
use lightning_liquidity::lsps5::msgs as theirs;
use lightning_liquidity::lsps5::msgs::LSPS5ProtocolError as Wrong;
use lsps_types::codes::{RemoveWebhookError, SetWebhookError};
use lsps_types::jsonrpc::{ErrorObject, FromLsp, Incoming, InvalidParams, Refusal};
use lsps_types::lsps5::{
    AppName, ListWebhooks, Notification, RemoveWebhook, SetWebhook, WebhookRemoved, WebhookSet, WebhookUrl, Webhooks,
};
use lsps_types::units::BlockHeight;
use lsps_types::{Method, Request};
use serde::de::DeserializeOwned;

use crate::{MESSAGES, TABLE};
use lsps_testing::table::Outcome::{Cannot, Works};

#[test]
fn what_it_writes_is_read() {
    use theirs::LSPS5Request as Ask;
    use theirs::LSPS5Response as Say;
    let set = theirs::SetWebhookRequest { app_name: name(), webhook: url() };
    let ours = asked::<SetWebhook>(Ask::SetWebhook(set));
    assert_eq!(ours.checked().map(|(name, url)| (name.as_str().to_owned(), url.as_str().to_owned())), Ok(our_pair()));
    assert_eq!(asked::<ListWebhooks>(Ask::ListWebhooks(theirs::ListWebhooksRequest {})), ListWebhooks {});
    let remove = theirs::RemoveWebhookRequest { app_name: name() };
    assert_eq!(asked::<RemoveWebhook>(Ask::RemoveWebhook(remove)), RemoveWebhook { app_name: APP.into() });

    let set = theirs::SetWebhookResponse { num_webhooks: 1, max_webhooks: 10, no_change: false };
    let ours = WebhookSet { num_webhooks: 1, max_webhooks: 10, no_change: false };
    assert_eq!(answered::<SetWebhook>(Say::SetWebhook(set)), Ok(ours));
    let list = theirs::ListWebhooksResponse { app_names: vec![name()], max_webhooks: 10 };
    let ours = Webhooks { app_names: vec![APP.into()], max_webhooks: 10 };
    assert_eq!(answered::<ListWebhooks>(Say::ListWebhooks(list)), Ok(ours));
    let removed = theirs::RemoveWebhookResponse {};
    assert_eq!(answered::<RemoveWebhook>(Say::RemoveWebhook(removed)), Ok(WebhookRemoved {}));
    for (wrong, means) in [
        (Wrong::AppNameTooLong, SetWebhookError::TooLong),
        (Wrong::UrlParse, SetWebhookError::UrlParse),
        (Wrong::UnsupportedProtocol, SetWebhookError::UnsupportedProtocol),
        (Wrong::TooManyWebhooks, SetWebhookError::TooManyWebhooks),
    ] {
        assert_eq!(answered::<SetWebhook>(Say::SetWebhookError(wrong.into())), Err(Refusal::Method(means)));
    }
    let not_found = Say::RemoveWebhookError(Wrong::AppNameNotFound.into());
    assert_eq!(answered::<RemoveWebhook>(not_found), Err(Refusal::Method(RemoveWebhookError::AppNameNotFound)));

    for (theirs, ours) in notifications() {
        assert_eq!(Notification::parse(&serde_json::to_vec(&theirs).unwrap()), Ok(ours));
    }
    TABLE.shows(MESSAGES, "LSPS5: its requests, replies and notifications, read by ours", Works);
}

#[test]
fn what_we_write_is_read_by_it() {
    let (app, webhook) = our_pair();
    let set = SetWebhook::new(AppName::new(app).unwrap(), WebhookUrl::new(webhook).unwrap());
    assert_eq!(read::<theirs::SetWebhookRequest>(&set), theirs::SetWebhookRequest { app_name: name(), webhook: url() });
    let _: theirs::ListWebhooksRequest = read(&ListWebhooks {});
    let remove: theirs::RemoveWebhookRequest = read(&RemoveWebhook { app_name: APP.into() });
    assert_eq!(remove.app_name, name());

    let set: theirs::SetWebhookResponse = read(&WebhookSet { num_webhooks: 1, max_webhooks: 10, no_change: true });
    assert_eq!((set.num_webhooks, set.max_webhooks, set.no_change), (1, 10, true));
    let list: theirs::ListWebhooksResponse = read(&Webhooks { app_names: vec![APP.into()], max_webhooks: 10 });
    assert_eq!((list.app_names, list.max_webhooks), (vec![name()], 10));
    let _: theirs::RemoveWebhookResponse = read(&WebhookRemoved {});

    for (theirs, ours) in notifications() {
        let read: theirs::WebhookNotification = serde_json::from_str(&ours.body().expect("known")).unwrap();
        assert_eq!(read, theirs);
    }
    TABLE.shows(MESSAGES, "LSPS5: our requests, replies and notifications, read by its", Works);
}

#[test]
fn some_urls_are_none_to_it() {
    for url in ["https://example.org/~me", "https://example.org/a+b", "https://example.org/?q=a,b"] {
        let ours = WebhookUrl::new(url.into()).expect("a URL");
        assert!(theirs::LSPS5WebhookUrl::new(url.into()).is_err(), "the table can say so");
        let set = SetWebhook::new(AppName::new(APP.into()).unwrap(), ours);
        assert!(!is_read::<theirs::SetWebhookRequest>(&set));
    }
    let outcome = Cannot(
        "it takes letters, digits and some marks only, not all that RFC 1738 has (L5-010), and for others answers -32700 instead of \
         501 and listens no more",
    );
    TABLE.shows(MESSAGES, "LSPS5: a webhook with `~`, `+` or `,` in its URL, written by ours", outcome);
}

#[test]
fn it_takes_the_data_of_an_error_for_text() {
    let with_data = ErrorObject::invalid_params(&InvalidParams::default());
    assert!(!is_read::<LSPSResponseError>(&with_data), "the table can say so");
    assert!(is_read::<LSPSResponseError>(&ErrorObject::of_method(SetWebhookError::TooLong)));
    let outcome = Cannot(
        "it takes `data` for text, and this is an object (L0-047): its client takes the reply for a bad payload. Ours writes it only \
         for parameters that its client never sends",
    );
    TABLE.shows(MESSAGES, "-32602 with its `data`, written by ours", outcome);
}

const APP: &str = "an app";
const URL: &str = "https://push.example.org/n?token=5f0c3e9a77d1428e9b6a";

fn our_pair() -> (String, String) {
    (APP.into(), URL.into())
}

fn name() -> theirs::LSPS5AppName {
    theirs::LSPS5AppName::new(APP.into()).expect("a name")
}

fn url() -> theirs::LSPS5WebhookUrl {
    theirs::LSPS5WebhookUrl::new(URL.into()).expect("a URL")
}

fn notifications() -> [(theirs::WebhookNotification, Notification); 5] {
    use theirs::WebhookNotification as Theirs;
    [
        (Theirs::webhook_registered(), Notification::WebhookRegistered),
        (Theirs::payment_incoming(), Notification::PaymentIncoming),
        (Theirs::expiry_soon(144), Notification::ExpirySoon { timeout: BlockHeight(144) }),
        (Theirs::liquidity_management_request(), Notification::LiquidityManagementRequest),
        (Theirs::onion_message_incoming(), Notification::OnionMessageIncoming),
    ]
}

fn asked<R: Request>(request: theirs::LSPS5Request) -> R {
    let payload = written(theirs::LSPS5Message::Request(LSPSRequestId("an id".into()), request));
    let incoming = Incoming::decode(&payload).expect("a request");
    assert_eq!(incoming.method().map(Method::name), Some(R::METHOD.name()));
    incoming.params().expect("its parameters")
}

fn answered<R: Request>(response: theirs::LSPS5Response) -> Result<R::Reply, Refusal<R::Error>> {
    let payload = written(theirs::LSPS5Message::Response(LSPSRequestId("an id".into()), response));
    let Ok(FromLsp::Response { outcome, .. }) = FromLsp::decode(&payload) else { panic!("no reply") };
    match outcome {
        Ok(raw) => Ok(raw.reply::<R>().expect("as promised")),
        Err(error) => Err(error.typed::<R::Error>().refusal),
    }
}

fn written(message: theirs::LSPS5Message) -> Vec<u8> {
    serde_json::to_vec(&LSPSMessage::LSPS5(message)).expect("it writes")
}

fn read<T: DeserializeOwned>(ours: &impl serde::Serialize) -> T {
    serde_json::from_value(serde_json::to_value(ours).expect("we write")).expect("it reads")
}

fn is_read<T: DeserializeOwned>(ours: &impl serde::Serialize) -> bool {
    serde_json::from_value::<T>(serde_json::to_value(ours).expect("we write")).is_ok()
}
