//! The commands of the wallet, executed on its node.

use std::time::Duration;

use lsps_client::session::Outcome;
use lsps_node::bitcoin::FeeRate;
use lsps_node::bitcoin::secp256k1::PublicKey;
use lsps_node::lsps_transport_ldk::types::lsps5::{AppName, WebhookUrl};
use lsps_node::ready::{Event, Invoice, OrderRequest, Payment, PaymentStatus, Way};
use lsps_node::{Msat, Node};
use serde::Serialize;
use serde_json::{Value, json};

use super::Failure;
use super::command::{Command, LspsCommand};

/// Does a command, and tells its progress.
pub async fn execute(node: &Node, command: &Command, tell: &(dyn Fn(Value) + Sync)) -> Result<Value, Failure> {
    match command {
        Command::Init { .. } | Command::Daemon => Err(Failure::new("the daemon runs already")),
        Command::Stop => Err(Failure::new("no daemon runs")),
        Command::Info => {
            usable(node, tell).await;
            Ok(info(node))
        }
        Command::Receive { sat, description, no_wait } => {
            receive(node, sat.map(Msat::from_sat), description, !no_wait, tell).await
        }
        Command::Order { sat, lsp, blocks, fee_at_most } => {
            let lsp = lsp.as_deref().map(str::parse).transpose()?;
            let request =
                OrderRequest { lsp, blocks: *blocks, fee_at_most_sat: *fee_at_most, ..OrderRequest::inbound(*sat) };
            order(node, request, tell).await
        }
        Command::Pay { invoice, sat } => pay(node, invoice, sat.map(Msat::from_sat), tell).await,
        Command::Send { address, sat, fee_rate } => {
            let rate =
                fee_rate.map(|rate| FeeRate::from_sat_per_vb(rate).ok_or_else(|| Failure::new("too high a feerate")));
            let txid = node.send(&address.parse()?, *sat, rate.transpose()?)?;
            Ok(json!({ "txid": txid.to_string() }))
        }
        Command::Address => Ok(json!({ "address": node.address()?.to_string() })),
        Command::Balance => {
            usable(node, tell).await;
            Ok(plain(&node.balances()))
        }
        Command::History => Ok(plain(&node.payments())),
        Command::Event { acknowledge } => event(node, *acknowledge).await,
        Command::Channels => {
            usable(node, tell).await;
            Ok(plain(&node.channels()))
        }
        Command::Open { peer, sat } => {
            connected(node, peer.parse()?, tell).await;
            node.open_channel(peer.parse()?, *sat)?;
            Ok(json!({ "opening": "its funding is broadcast when the peer has answered; `channels` shows it" }))
        }
        Command::Close { channel, alone } => {
            usable(node, tell).await;
            node.close_channel(channel, *alone)?;
            Ok(json!({ "closing": channel }))
        }
        Command::Connect { peer } => {
            node.connect(peer.parse()?)?;
            Ok(json!({ "peer": peer }))
        }
        Command::Lsps { command } => lsps(node, command),
        Command::Webhook { url, lsp, app } => webhook(node, url, lsp.as_deref(), app, tell).await,
        Command::BackupPhrase => Ok(json!({
            "words": node.phrase().words(),
            "note": "whoever has these words has the coins; they restore coins on the chain, and no channels",
        })),
    }
}

fn info(node: &Node) -> Value {
    let status = node.ldk().chain().status();
    let peers = node.peers();
    json!({
        "node_id": node.node_id().to_string(),
        "network": node.network().to_string(),
        "height": status.height,
        "blocks_behind": status.behind(),
        "chain_source": status.gone.unwrap_or_else(|| "answers".into()),
        "channels": node.channels().len(),
        "peers_connected": peers.iter().filter(|peer| peer.is_connected).count(),
        "warnings": node.warnings(),
    })
}

async fn receive(
    node: &Node,
    amount: Option<Msat>,
    description: &str,
    waits: bool,
    tell: &(dyn Fn(Value) + Sync),
) -> Result<Value, Failure> {
    usable(node, tell).await;
    let Invoice { invoice, fee, way, .. } = match amount {
        Some(amount) => node.receive(amount, description).await?,
        None => node.receive_variable(EXPECTED, description).await?,
    };
    let over = match way {
        Way::NewChannel { lsp, .. } => format!("a channel that {lsp} opens when it is paid"),
        _ => "the channels there are".into(),
    };
    let made = json!({ "invoice": invoice.to_string(), "fee_msat": fee.0, "over": over });
    if !waits {
        return Ok(made);
    }
    tell(made);
    tell(json!("waiting for the payment; stop with Ctrl-C"));
    let hash = invoice.payment_hash().to_string();
    let paid = watching(node, tell, node.received(&hash)).await;
    let paid = paid.filter(|paid| paid.status == PaymentStatus::Succeeded);
    paid.map(|paid| plain(&paid)).ok_or_else(|| Failure::new("the invoice expired without a payment"))
}

async fn order(node: &Node, request: OrderRequest, tell: &(dyn Fn(Value) + Sync)) -> Result<Value, Failure> {
    usable(node, tell).await;
    let order = node.order(request).await?;
    match watching(node, tell, order.wait()).await {
        Outcome::Ended(end) => Ok(json!({ "order": order.key().to_string(), "end": end.to_string() })),
        Outcome::Failed => Err(Failure::new("there will be no channel; the payment is to come back")),
        Outcome::Stuck(why) => Err(Failure::new(format!("the order does not go on: {why}"))),
        Outcome::NoRecord => Err(Failure::new("the order has no record any more")),
    }
}

async fn pay(
    node: &Node,
    invoice: &str,
    amount: Option<Msat>,
    tell: &(dyn Fn(Value) + Sync),
) -> Result<Value, Failure> {
    let invoice = invoice.parse().map_err(|why| Failure::new(format!("this is no BOLT 11 invoice: {why}")))?;
    usable(node, tell).await;
    let hash = node.pay(&invoice, amount)?;
    tell(json!("the payment is under way"));
    match node.paid(&hash).await {
        Some(payment @ Payment { status: PaymentStatus::Succeeded, .. }) => Ok(plain(&payment)),
        _ => Err(Failure::new("the payment failed; nothing of it is under way. `wallet event` has the reason")),
    }
}

async fn event(node: &Node, acknowledges: bool) -> Result<Value, Failure> {
    let Ok(event) = tokio::time::timeout(Duration::from_millis(100), node.next_event()).await else {
        return Ok(json!({ "event": null }));
    };
    if acknowledges {
        node.acknowledge(&event)?;
    }
    Ok(plain::<Event>(&event))
}

fn lsps(node: &Node, command: &LspsCommand) -> Result<Value, Failure> {
    match command {
        LspsCommand::List => Ok(plain(&node.lsps().list())),
        LspsCommand::Add { address, token, trusted } => {
            Ok(plain(&node.lsps().add(address, token.clone(), *trusted)?))
        }
        LspsCommand::Remove { node_id } => {
            node.lsps().remove(node_id.parse()?)?;
            Ok(json!({ "removed": node_id }))
        }
    }
}

async fn webhook(
    node: &Node,
    url: &str,
    lsp: Option<&str>,
    app: &str,
    tell: &(dyn Fn(Value) + Sync),
) -> Result<Value, Failure> {
    let wallet = node.wallet().ok_or_else(|| Failure::new("an LSP has no LSP"))?;
    let lsp: PublicKey = match (lsp, &node.lsps().list()[..]) {
        (Some(lsp), _) => lsp.parse()?,
        (None, [only]) => PublicKey::from_slice(&only.address.node_id.0)?,
        (None, others) => return Err(Failure::new(format!("{} LSPs are known: name one with --lsp", others.len()))),
    };
    connected(node, lsp, tell).await;
    let (app, hook) = (AppName::new(app.into())?, WebhookUrl::new(url.into())?);
    wallet.keep_registered(&lsp, app, hook).await?;
    Ok(json!({ "webhook": url, "lsp": lsp.to_string() }))
}

/// Waits for the end of something, and tells what the wallet's host says meanwhile.
async fn watching<T>(node: &Node, tell: &(dyn Fn(Value) + Sync), end: impl Future<Output = T>) -> T {
    let mut events = node.wallet().map(|wallet| wallet.events());
    tokio::pin!(end);
    loop {
        let next = async {
            match &mut events {
                Some(events) => events.recv().await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            end = &mut end => return end,
            event = next => match event {
                Some(event) => tell(json!(in_sat(&event.to_string()))),
                None => events = None,
            },
        }
    }
}

/// Waits, not for long, until the newest block was seen and every channel can be used.
async fn usable(node: &Node, tell: &(dyn Fn(Value) + Sync)) {
    let chain = node.ldk().chain();
    let is_there = || chain.source().is_local() || chain.status().is_current();
    within(tell, "waiting for the chain", is_there).await;
    let is_there = || node.channels().iter().all(|channel| channel.is_usable || !channel.is_ready);
    within(tell, "connecting to the peers of the channels", is_there).await;
}

/// Waits, not for long, until a peer is connected.
async fn connected(node: &Node, peer: PublicKey, tell: &(dyn Fn(Value) + Sync)) {
    let peer = peer.to_string();
    let is_there = || node.peers().iter().any(|other| other.node_id == peer && other.is_connected);
    within(tell, "connecting to the peer", is_there).await;
}

/// The text with its amounts in satoshis.
fn in_sat(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for n in 1..words.len() {
        if let Some(rest) = words[n].strip_prefix("msat").map(str::to_owned)
            && let Ok(amount) = words[n - 1].parse::<u64>()
        {
            words[n - 1] = super::show::sat(amount);
            words[n] = format!("sat{rest}");
        }
    }
    words.join(" ")
}

async fn within(tell: &(dyn Fn(Value) + Sync), what: &str, is_there: impl Fn() -> bool) {
    for turn in 0..200 {
        if is_there() {
            return;
        }
        if turn == 10 {
            tell(json!(what));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn plain<T: Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// Payment for which prices are compared when the payer chooses the amount.
const EXPECTED: Msat = Msat::from_sat(100_000);
