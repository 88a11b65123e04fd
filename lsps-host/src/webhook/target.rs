//! The rules for URLs that may be contacted, and a delivery whose URL has been checked.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

use lsps_types::lsps5::Signed;

use super::Undelivered;
use super::address::is_global;

/// The hosts, ports and networks that may be contacted at a client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Ports that may be contacted. By default 443 and those from 1024: lower ports are mail, directories and the like,
    /// none of which is a webhook. A service on a higher port receives only the start of a TLS handshake unless it has
    /// the certificate.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Hosts that may have any address, as written in URLs; for tests and private set-ups.
    pub exempt_hosts: Vec<String>,
    /// Networks that may be contacted although they are not of the public Internet; for tests and private set-ups.
    pub exempt_networks: Vec<IpNet>,
}

impl Default for Targets {
    fn default() -> Self {
        Self { ports: vec![443..=443, 1024..=u16::MAX], exempt_hosts: vec![], exempt_networks: vec![] }
    }
}

impl Targets {
    /// Whether a URL whose host has these addresses would be contacted.
    ///
    /// # Errors
    ///
    /// The reason for which the URL would not be contacted.
    pub fn check(&self, url: &str, resolved: &[IpAddr]) -> Result<(), Undelivered> {
        let target = self.target(url)?;
        self.check_addresses(&target, target.literal().as_ref().map_or(resolved, std::slice::from_ref))
    }

    /// Splits a URL, if its form and its port are allowed.
    pub(super) fn target(&self, url: &str) -> Result<Target, Undelivered> {
        let url = Url::parse(url).map_err(|_| Undelivered::Url)?;
        let has_userinfo = !url.username().is_empty() || url.password().is_some();
        let (Some(host), Some(port), false) = (url.host(), url.port_or_known_default(), has_userinfo) else {
            return Err(Undelivered::Url);
        };
        if url.scheme() != "https" {
            return Err(Undelivered::Url);
        }
        if !self.ports.iter().any(|range| range.contains(&port)) {
            return Err(Undelivered::Port(port));
        }
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        let path = url.query().map_or_else(|| url.path().into(), |query| format!("{}?{query}", url.path()));
        Ok(Target { host: host.to_owned(), port, authority, path })
    }

    /// Checks the addresses of a host. A single address that must not be contacted excludes the host: it is malicious,
    /// or in the wrong place.
    pub(super) fn check_addresses(&self, target: &Target, addresses: &[IpAddr]) -> Result<(), Undelivered> {
        let host = target.host.to_string();
        if addresses.is_empty() {
            return Err(Undelivered::Unresolved);
        }
        if self.exempt_hosts.iter().any(|exempt| exempt.eq_ignore_ascii_case(&host)) {
            return Ok(());
        }
        let is_exempt = |ip: IpAddr| self.exempt_networks.iter().any(|network| network.contains(&ip.to_canonical()));
        let refused = addresses.iter().find(|ip| !is_global(**ip) && !is_exempt(**ip));
        refused.map_or(Ok(()), |ip| Err(Undelivered::Address(*ip)))
    }
}

/// The parts of a URL that a post needs.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub host: Host,
    pub port: u16,
    /// The value of the `Host` header.
    pub authority: String,
    /// Path with the query.
    pub path: String,
}

impl Target {
    /// The address, if the URL has one instead of a name, in any notation.
    pub fn literal(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ipv4(v4) => Some(v4.into()),
            Host::Ipv6(v6) => Some(v6.into()),
            Host::Domain(_) => None,
        }
    }

    /// The name that all hosts of one owner share: the registrable domain, or the address itself; for IPv6 the network
    /// of one customer of a provider.
    pub fn domain(&self) -> Arc<str> {
        match &self.host {
            Host::Domain(name) => psl::domain_str(name.trim_end_matches('.')).unwrap_or(name).to_lowercase().into(),
            Host::Ipv4(v4) => v4.to_string().into(),
            Host::Ipv6(v6) => format!("{:x?}", &v6.segments()[..3]).into(),
        }
    }
}

/// The `POST` request of an attempt.
#[derive(Debug)]
pub(super) struct PostRequest {
    pub target: Target,
    pub signed: Signed,
}
