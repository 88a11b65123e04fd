//! Webhook targets that do not accept a notification: the reports to the LSP, and its reaction. The tests use real
//! nodes and a tape of all inputs of the service.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use lsps_node::node::within;
use lsps_testing::hook::stage::{Does, HERE, Service, config};
use lsps_testing::https::Authority;
use lsps_testing::scene::{Scene, Script};
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::webhook::DeliveryConfig;
use lsps_types::PeerId;
use lsps_types::lsps5::{AppName, ListWebhooks, Signed, WebhookUrl};
use tempfile::TempDir;

/// L5-063: no webhook is forgotten, and none delays the one that works.
#[tokio::test(flavor = "multi_thread")]
async fn case_N08_hooks_that_fail_cost_neither_the_webhook_nor_the_payment() {
    let (ours, another) = (Authority::new().unwrap(), Authority::new().unwrap());
    let good = Service::at(HERE, &ours, &["good.test"], |_| Does::answers(200)).await;
    let stranger = Service::at(HERE, &another, &["stranger.test"], |_| Does::answers(200)).await;
    let dead = TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap().port(); // nobody listens any more
    for (paid, (host, port)) in [("dead", dead), ("stranger", stranger.port)].into_iter().enumerate() {
        let world = World::playing(config(&ours)).await;
        world.registers(host, port).await;
        world.registers("good", good.port).await;
        world.lsp_hears(1, "WebhookDelivered").await;
        world.lsp_hears(1, "WebhookUnreached").await;
        assert_eq!(world.listed().await.len(), 2, "both are kept");

        let (scene, before) = (&world.scene, world.scene.balances().unwrap());
        let wallet = &scene.wallet.host;
        let jit = wallet.receive_via_jit_channel(AMOUNT, "called", HOUR, FEE_LIMIT).await.expect("it sells");
        scene.wallet.node.peer_manager().disconnect_by_node_id(scene.lsp.node.node_id());
        assert!(within(|| scene.lsp.node.peer_manager().peer_by_node_id(&scene.wallet.node.node_id()).is_none()).await);
        scene.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
        world.lsp_hears(2, "WebhookDelivered").await;
        world.lsp_hears(2, "WebhookUnreached").await;
        scene.connect().await.unwrap();
        scene.settle(before, jit.fee.0).await.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(good.requests().len(), 2 * (paid + 1));
    }
    assert_eq!(stranger.requests().len(), 0, "who is not trusted is told nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_N08_what_finds_no_place_in_the_queue_is_failed_at_once() {
    let authority = Authority::new().unwrap();
    let slow = Service::at(HERE, &authority, &["slow.test"], |_| Does::Waits).await;
    let world = World::playing(DeliveryConfig { most_pending_per_domain: 1, ..config(&authority) }).await;
    world.registers("slow", slow.port).await;
    assert!(within(|| slow.requests().len() == 1).await);
    assert_eq!(world.told("WebhookUnreached"), 0, "it is under way");
    world.registers_as("another app", "slow", slow.port).await;
    world.lsp_hears(1, "WebhookUnreached").await;
    assert_eq!((slow.requests().len(), world.told("WebhookDelivered")), (1, 0));
    assert_eq!(world.listed().await, ["another app", "slow"]);
}

/// After a restart the LSP repeats, bit by bit, the posts that were not answered, and no others.
#[tokio::test(flavor = "multi_thread")]
async fn case_N05_an_lsp_that_restarts_with_a_post_under_way_posts_it_again() {
    let authority = Authority::new().unwrap();
    let does = |number| if number == 1 { Does::Waits } else { Does::answers(200) };
    let hook = Service::at(HERE, &authority, &["push.test"], does).await;
    let mut world = World::playing(config(&authority)).await;
    world.registers("push", hook.port).await;
    assert!(within(|| hook.requests().len() == 1).await);
    world.scene.restart_lsp().await.expect("it starts");
    world.lsp_hears(1, "WebhookDelivered").await;
    let requests = hook.requests();
    let [first, again] = &requests[..] else { panic!("{requests:?}") };
    for header in [Signed::TIMESTAMP_HEADER, Signed::SIGNATURE_HEADER] {
        assert_eq!(first.header(header), again.header(header));
    }
    assert_eq!(first.body, again.body);

    world.scene.restart_lsp().await.expect("it starts");
    world.scene.connect().await.expect("it is reached");
    world.registers_as("another app", "push", hook.port).await;
    world.lsp_hears(2, "WebhookDelivered").await;
    assert_eq!(hook.requests().len(), 3, "of each webhook one more");
    assert_eq!(world.told("WebhookUnreached"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_N08_an_lsp_that_stops_does_not_wait_for_hooks() {
    let authority = Authority::new().unwrap();
    let slow = Service::at(HERE, &authority, &["slow.test"], |_| Does::Waits).await;
    let world = World::playing(config(&authority)).await; // which gives an attempt two minutes
    world.registers("slow", slow.port).await;
    assert!(within(|| slow.requests().len() == 1).await);
    tokio::time::timeout(Duration::from_secs(60), world.scene.stop()).await.expect("it stops");
}

/// Three nodes, and the inputs of the LSP's service.
struct World {
    scene: Scene,
    directory: TempDir,
}

impl World {
    async fn playing(config: DeliveryConfig) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let lsp_tape = Some(tape(&directory));
        let scene = Scene::set(Script { webhooks: Some(config), lsp_tape, ..Script::default() }).await;
        Self { scene: scene.expect("the nodes start"), directory }
    }

    async fn registers(&self, host: &str, port: u16) {
        self.registers_as(host, host, port).await;
    }

    async fn registers_as(&self, app: &str, host: &str, port: u16) {
        let url = WebhookUrl::new(format!("https://{host}.test:{port}/wake")).expect("a URL");
        let (wallet, lsp) = (&self.scene.wallet.host, self.scene.lsp.node.node_id());
        let app = AppName::new(app.into()).expect("short");
        wallet.keep_registered(&lsp, app, url).await.expect("whatever becomes of the posts");
    }

    async fn listed(&self) -> Vec<String> {
        let lsp = PeerId(self.scene.lsp.node.node_id().serialize());
        self.scene.wallet.host.session().lsp(lsp).call(&ListWebhooks {}).await.expect("it lists").app_names
    }

    async fn lsp_hears(&self, times: usize, input: &str) {
        assert!(within(|| self.told(input) >= times).await, "{} of {times}", self.told(input));
        assert_eq!(self.told(input), times);
    }

    fn told(&self, input: &str) -> usize {
        let tape = std::fs::read_to_string(tape(&self.directory)).expect("a tape");
        tape.lines().filter(|line| line.contains(&format!("\"{input}\""))).count()
    }
}

fn tape(directory: &TempDir) -> PathBuf {
    directory.path().join("tape")
}

const AMOUNT: Msat = Msat(40_000_000);
const FEE_LIMIT: Msat = Msat(2_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
