//! An LSP with a node, honest payments, and a crowd of strangers at the same time.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use lightning::events::Event;
use lightning::ln::channelmanager::InterceptId;
use lightning::types::payment::PaymentHash;
use lsps_service::{OrderPolicy, StandardPolicy};
use lsps_testing::hook::{Hook, reached_with};
use lsps_testing::https::Authority;
use lsps_testing::scene::Scene;
use lsps_testing::scene::{Error, Script};
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_transport_ldk::webhook::{Addresses, Resolve};
use lsps_transport_ldk::{Lsp, LspEvent, Msat};
use lsps_types::PeerId;
use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::lsps2::Buy;
use lsps_types::lsps5::AppName;

use crate::Figures;
use crate::attack::{Attack, Crowd, buy, comes, hears, stranger};

/// Plays the attack and measures.
pub fn run(attack: Attack) -> Result<Figures, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(play(attack))
}

async fn play(attack: Attack) -> Result<Figures, Error> {
    let (directory, authority) = (tempfile::tempdir()?, Authority::new()?);
    let hook = Hook::content(&authority).await?;
    let answers = Arc::<Mutex<Vec<(PublicKey, Vec<u8>)>>>::default();
    let mut honest = Honest::starts(directory.path(), &authority, &hook, &answers).await?;
    let ours = sells(&honest.scene, &answers).await?;
    let mut told = honest.scene.lsp.host.events();

    let (stop, messages) = (Arc::new(AtomicBool::new(false)), Arc::clone(&honest.scene.lsp.messages));
    let before_mb = reset_peak()?;
    let crowd = std::thread::spawn({
        let (stop, messages) = (Arc::clone(&stop), Arc::clone(&messages));
        move || Crowd::of(&messages).attacks(attack, &stop)
    });
    let prober = tokio::spawn(probes(Arc::clone(&honest.scene.lsp.host), ours, Arc::clone(&stop)));
    tokio::time::sleep(AT_FIRST).await;
    let client = PeerId(honest.scene.wallet.node.node_id().serialize());
    let outcome = honest.is_paid_and_called(&hook, attack == Attack::Hooks).await;
    tokio::time::sleep(AT_FIRST).await;
    let grown_mb = memory("VmHWM")? - before_mb;
    stop.store(true, Ordering::SeqCst);
    let sent = crowd.join().expect("it does not panic");
    let mut waits = prober.await?;
    let (pay, call) = outcome?;
    waits.sort();
    let (most, middle) = (waits[waits.len() - 1], waits[waits.len() / 2]);
    let (mut unread, mut is_told) = (0, false);
    while let Some(event) = told.try_recv() {
        unread += 1;
        is_told |= matches!(event, LspEvent::ClientNeeded { client: needed, .. } if needed == client);
    }
    if !is_told {
        return Err("the operator did not hear that the client is needed".into());
    }
    let about =
        format!("{sent} messages sent, {} of them dropped; {unread} events for the operator", messages.dropped());
    honest.scene.stop().await;
    let [event_ms, event_median_ms, pay_ms, call_ms] = [most, middle, pay, call].map(|time| time.as_secs_f64() * 1e3);
    Ok(Figures { event_ms, event_median_ms, pay_ms, call_ms, grown_mb, about })
}

/// Messages that the LSP sent, with their recipients.
type Answers = Arc<Mutex<Vec<(PublicKey, Vec<u8>)>>>;

/// Honest clients that want to be paid.
struct Honest {
    scene: Scene,
    invoices: Vec<JitInvoice>,
}

impl Honest {
    async fn starts(
        directory: &std::path::Path,
        authority: &Authority,
        hook: &Hook,
        answers: &Answers,
    ) -> Result<Self, Error> {
        let mut webhooks = reached_with(authority);
        webhooks.resolver = Some(Arc::new(OneName));
        let (notes, asks) = (Arc::clone(answers), stranger(CLIENT));
        let scene = Scene::set(Script {
            directory: Some(directory.into()),
            payer_channels: vec![1_000_000; 2],
            webhooks: Some(webhooks),
            policy: StandardPolicy { orders: Some(OrderPolicy::default()), ..StandardPolicy::default() },
            on_request: Arc::new(move |message| {
                if message.sent && *message.peer == asks {
                    notes.lock().expect("nobody panics here").push((*message.peer, message.payload.to_vec()));
                }
            }),
            ..Script::default()
        })
        .await?;
        let (lsp, hour, most) = (scene.lsp.node.node_id(), Duration::from_secs(3_600), Msat(2_000_000));
        let url = hook.url("/phone").map_err(|why| why.to_string())?;
        scene.wallet.host.keep_registered(&lsp, AppName::new("wallet".into())?, url).await?;
        let mut invoices = vec![];
        for _ in 0..PAYMENTS + 1 {
            invoices.push(scene.wallet.host.receive_via_jit_channel(AMOUNT, "a payment", hour, most).await?);
        }
        comes_true(|| hook.posts().len() == 1).await?;
        Ok(Self { scene, invoices })
    }

    /// Returns the time of the slowest payment and of the call. If `is_called_first`, the client that is called has no
    /// channel yet.
    async fn is_paid_and_called(&mut self, hook: &Hook, is_called_first: bool) -> Result<(Duration, Duration), Error> {
        let mut call = Duration::ZERO;
        if is_called_first {
            call = self.is_called(hook).await?;
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..PAYMENTS {
            slowest = slowest.max(self.is_paid().await?);
        }
        if !is_called_first {
            call = self.is_called(hook).await?;
        }
        Ok((slowest, call))
    }

    async fn is_paid(&mut self) -> Result<Duration, Error> {
        let begun = self.pays()?;
        self.arrives(begun).await
    }

    fn pays(&mut self) -> Result<Instant, Error> {
        let jit = self.invoices.pop().ok_or("there is an invoice")?;
        self.scene.seen.forget();
        let begun = Instant::now();
        self.scene.payer.pay(&jit.invoice, AMOUNT.0)?;
        Ok(begun)
    }

    async fn arrives(&self, begun: Instant) -> Result<Duration, Error> {
        let facts = || self.scene.seen.facts();
        comes_true(|| facts().has_failed || (facts().sent.is_some() && facts().received.is_some())).await?;
        let took = begun.elapsed();
        if facts().has_failed {
            return Err(
                format!("the payment failed after {took:?}: {:?}", self.scene.payer.logger().failure_codes()).into()
            );
        }
        self.scene.chain.mine(1);
        Ok(took)
    }

    async fn is_called(&mut self, hook: &Hook) -> Result<Duration, Error> {
        let posts = hook.posts().len();
        let (lsp, wallet) = (Arc::clone(&self.scene.lsp.node), Arc::clone(&self.scene.wallet.node));
        wallet.stop().await;
        comes_true(|| lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none()).await?;
        let begun = self.pays()?;
        comes_true(|| hook.posts().len() > posts).await?;
        let took = begun.elapsed();
        self.scene.restart_wallet().await?;
        if !self.scene.wallet.node.connect(lsp.node_id(), lsp.address()).await {
            return Err("the wallet does not reach its LSP".into());
        }
        self.arrives(begun).await?;
        Ok(took)
    }
}

/// Returns an SCID that a client without a node bought; the prober reports HTLCs to it.
async fn sells(scene: &Scene, answers: &Mutex<Vec<(PublicKey, Vec<u8>)>>) -> Result<u64, Error> {
    let (messages, client) = (&scene.lsp.messages, stranger(CLIENT));
    comes(messages, client);
    hears(messages, client, encode_request("the first", &buy(client)).expect("short"));
    comes_true(|| !answers.lock().expect("nobody panics here").is_empty()).await?;
    let answer = answers.lock().expect("nobody panics here")[0].1.clone();
    let Ok(FromLsp::Response { outcome: Ok(raw), .. }) = FromLsp::decode(&answer) else {
        return Err("not sold".into());
    };
    Ok(raw.reply::<Buy>()?.jit_channel_scid.0)
}

/// Time that each event of an HTLC waited for its answer.
async fn probes(host: Arc<Lsp>, ours: u64, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut waits = vec![];
    for number in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let mut id = [7; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let event = Event::HTLCIntercepted {
            intercept_id: InterceptId(id),
            requested_next_hop_scid: ours,
            payment_hash: PaymentHash(id),
            inbound_amount_msat: 40_000_000,
            expected_outbound_amount_msat: 40_000_000,
        };
        let begun = Instant::now();
        let _it_is_answered_either_way = host.handle_event(&event).await;
        waits.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    waits
}

/// A resolver that knows the one honest hook and never answers for other names.
struct OneName;

impl Resolve for OneName {
    fn resolve(&self, host: &str) -> Addresses {
        let is_known = host == "push.test";
        Box::pin(
            async move { if is_known { Ok(vec![Ipv4Addr::LOCALHOST.into()]) } else { std::future::pending().await } },
        )
    }
}

async fn comes_true(is_true: impl Fn() -> bool) -> Result<(), Error> {
    let begun = Instant::now();
    while !is_true() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("it does not come true within {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Memory of the process in megabytes; the peak is counted from here.
fn reset_peak() -> io::Result<f64> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    memory("VmRSS")
}

fn memory(field: &str) -> io::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kilobytes: f64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default();
    Ok(kilobytes / 1024.0)
}

const AMOUNT: Msat = Msat(40_000_000);
const PAYMENTS: usize = 3;
/// A client without a node that is not part of the crowd.
const CLIENT: usize = 1_000_000;
/// Time in which the crowd fills all queues.
const AT_FIRST: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(150);
