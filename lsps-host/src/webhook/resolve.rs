//! The resolver, from host names to addresses.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;

use super::CannotPost;

/// The future of [`Resolve::resolve`].
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// A resolver of host names. The caller checks the addresses.
pub trait Resolve: Send + Sync {
    /// Resolves all addresses of a host. Dropping the future has to end the work: a name that no server answers for
    /// must not occupy a thread, as `getaddrinfo` does.
    fn resolve(&self, host: &str) -> Addresses;
}

/// The resolver of the system: its name servers and its hosts file.
pub(super) struct SystemResolver(TokioResolver);

impl SystemResolver {
    pub fn new() -> Result<Self, CannotPost> {
        let unusable = |error: NetError| CannotPost::Resolver(error.to_string());
        let mut builder = TokioResolver::builder_tokio().map_err(unusable)?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self(builder.build().map_err(unusable)?))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> Addresses {
        // The dot at the end disables the system's search domains: a URL names a host of the Internet, not of the local
        // network.
        let (resolver, host) = (self.0.clone(), format!("{}.", host.trim_end_matches('.')));
        Box::pin(async move { Ok(resolver.lookup_ip(host).await.map_err(io::Error::other)?.iter().collect()) })
    }
}
