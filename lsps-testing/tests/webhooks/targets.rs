//! Targets that are contacted, and targets that are not.

use std::net::IpAddr;

use lsps_host::webhook::{DeliveryConfig, IpNet, Targets, Undelivered};
use lsps_testing::hook::stage::{Does, FORBIDDEN, HERE, Names, Service, config, post};
use lsps_testing::https::Authority;

/// The networks in SECURITY.md are those that are refused, at both ends, in every notation of a URL or of a resolver's
/// answer.
///
/// L5-065.
#[test]
fn case_N08_ssrf_every_network_of_the_list_is_refused() {
    let networks = listed();
    assert!(networks.len() >= 30, "{networks:?}");
    for network in &networks {
        for ip in [network.network(), network.broadcast()] {
            assert_refused(ip);
            if let IpAddr::V4(v4) = ip {
                let [a, b, c, d] = v4.octets();
                assert_refused(v4.to_ipv6_mapped().into());
                assert_refused(v4.to_ipv6_compatible().into());
                assert_refused(format!("64:ff9b::{v4}").parse().unwrap());
                assert_refused(
                    format!("2002:{:x}:{:x}::1", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
                        .parse()
                        .unwrap(),
                );
                let number = u32::from(v4);
                for literal in [
                    format!("{number}"),
                    format!("{number:#x}"),
                    format!("0{number:o}"),
                    format!("0{a:o}.{b:#x}.{}", u16::from_be_bytes([c, d])),
                ] {
                    assert_eq!(check(&format!("https://{literal}/"), ip), Err(Undelivered::Address(ip)), "{literal}");
                }
            }
        }
    }
}

#[test]
fn case_N08_the_internet_is_not_refused() {
    for ip in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2a00:1450::5",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
    ] {
        let ip: IpAddr = ip.parse().unwrap();
        assert_eq!(check("https://push.test/", ip), Ok(()), "{ip}");
    }
}

#[test]
fn case_N08_one_address_that_is_refused_spoils_the_others() {
    let addresses = ["1.1.1.1", "10.0.0.1"].map(|ip| ip.parse().unwrap());
    assert_eq!(Targets::default().check("https://push.test/", &addresses), Err(Undelivered::Address(addresses[1])));
    assert_eq!(Targets::default().check("https://push.test/", &[]), Err(Undelivered::Unresolved));
}

#[test]
fn case_N08_only_https_to_ports_of_web_services() {
    let ip = "1.1.1.1".parse().unwrap();
    for fine in ["https://push.test/", "HTTPS://push.test:443", "https://push.test:8443/", "https://push.test:65535/"] {
        assert_eq!(check(fine, ip), Ok(()), "{fine}");
    }
    for port in [1, 22, 25, 53, 80, 465, 636, 853, 993, 1023] {
        assert_eq!(check(&format!("https://push.test:{port}/"), ip), Err(Undelivered::Port(port)));
    }
    for wrong in [
        "http://push.test/",
        "ftp://push.test/",
        "https://",
        "https://me@push.test/",
        "https://me:pw@push.test/",
        "https://:pw@push.test/",
        "push.test",
    ] {
        assert_eq!(check(wrong, ip), Err(Undelivered::Url), "{wrong}");
    }
    let any = Targets { ports: vec![0..=u16::MAX], ..Targets::default() };
    assert_eq!(any.check("https://push.test:25/", &[ip]), Ok(()));
}

#[test]
fn case_N08_hosts_and_networks_are_exempt_where_the_operator_says_so() {
    let ip: IpAddr = "10.1.2.3".parse().unwrap();
    let network = Targets { exempt_networks: vec!["10.1.0.0/16".parse().unwrap()], ..Targets::default() };
    assert_eq!(network.check("https://push.test/", &[ip]), Ok(()));
    assert_eq!(network.check("https://[::ffff:10.1.2.3]/", &[]), Ok(()));
    let outside = "10.2.0.1".parse().unwrap();
    assert_eq!(network.check("https://push.test/", &[outside]), Err(Undelivered::Address(outside)));
    let host = Targets { exempt_hosts: vec!["push.test".into()], ..Targets::default() };
    assert_eq!(host.check("https://PUSH.test/", &[ip]), Ok(()));
    assert_eq!(host.check("https://a.push.test/", &[ip]), Err(Undelivered::Address(ip)));
}

/// L5-065.
#[tokio::test]
async fn case_N08_a_host_with_a_forbidden_address_is_not_contacted() {
    let authority = Authority::new().unwrap();
    let service = Service::at(FORBIDDEN, &authority, &["push.test", "127.0.0.2"], |_| Does::answers(200)).await;
    for host in ["push.test", "127.0.0.2", "0x7f.2", "2130706434"] {
        let names = Names::new(|_: &str, _| Some(vec![FORBIDDEN.into()]));
        let config = DeliveryConfig { resolver: Some(names), ..config(&authority) };
        let outcome = post(config, &format!("https://{host}:{}/", service.port)).await;
        assert_eq!(outcome, Err(Undelivered::Address(FORBIDDEN.into())), "{host}");
    }
    assert_eq!(service.connections(), 0);
}

#[tokio::test]
async fn case_N08_a_name_that_leads_elsewhere_after_it_was_checked_gains_nothing() {
    let authority = Authority::new().unwrap();
    let service = Service::at(HERE, &authority, &["push.test"], |_| Does::answers(200)).await;
    let names = Names::new(|_: &str, asked| Some(vec![if asked == 0 { HERE } else { FORBIDDEN }.into()]));
    let config = DeliveryConfig { resolver: Some(names.clone()), ..config(&authority) };
    assert_eq!(post(config, &format!("https://push.test:{}/", service.port)).await, Ok(()));
    assert_eq!((names.asked(), service.requests().len()), (1, 1));
}

#[tokio::test]
async fn case_N08_each_attempt_looks_the_host_up_and_checks_it() {
    let authority = Authority::new().unwrap();
    let service = Service::at(HERE, &authority, &["push.test"], |_| Does::Closes).await;
    let names = Names::new(|_: &str, asked| Some(vec![if asked < 2 { HERE } else { FORBIDDEN }.into()]));
    let config = DeliveryConfig { resolver: Some(names.clone()), ..config(&authority) };
    let outcome = post(config, &format!("https://push.test:{}/", service.port)).await;
    assert_eq!(outcome, Err(Undelivered::Address(FORBIDDEN.into())));
    assert_eq!((names.asked(), service.requests().len()), (3, 2));
}

/// The test needs no network: every system's resolver knows this name.
#[tokio::test]
async fn case_N08_localhost_by_name_is_refused() {
    let outcome = post(DeliveryConfig { most_attempts: 1, ..DeliveryConfig::default() }, "https://localhost/").await;
    assert!(matches!(outcome, Err(Undelivered::Address(ip)) if ip.is_loopback()), "{outcome:?}");
}

#[tokio::test]
async fn another_address_of_a_host_is_tried_where_one_does_not_answer() {
    let authority = Authority::new().unwrap();
    let service = Service::at(HERE, &authority, &["push.test"], |_| Does::answers(200)).await;
    let names = Names::new(|_: &str, _| Some(vec![FORBIDDEN.into(), HERE.into()]));
    let mut config = DeliveryConfig { resolver: Some(names), ..config(&authority) };
    config.targets.exempt_hosts = vec!["push.test".into()];
    assert_eq!(post(config, &format!("https://push.test:{}/", service.port)).await, Ok(()));
}

fn assert_refused(ip: IpAddr) {
    assert!(check("https://push.test/", ip).is_err(), "{ip}");
    let literal = if ip.is_ipv6() { format!("https://[{ip}]/") } else { format!("https://{ip}/") };
    let refused = Targets::default().check(&literal, &["1.1.1.1".parse().unwrap()]);
    assert!(matches!(refused, Err(Undelivered::Address(_))), "{literal}: {refused:?}");
}

fn check(url: &str, ip: IpAddr) -> Result<(), Undelivered> {
    Targets::default().check(url, &[ip])
}

/// Networks that SECURITY.md lists between backticks.
fn listed() -> Vec<IpNet> {
    include_str!("../../../SECURITY.md").split('`').filter_map(|text| text.parse().ok()).collect()
}
