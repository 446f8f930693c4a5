//! Where the coordinator listens.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::ServerError;

/// Takes the address, or says who has it.
pub(super) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AddrInUse => ServerError::Taken { address },
        _ => ServerError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(|source| ServerError::Listen { address, source })?;
    Ok((listener, bound))
}

/// What people and programs are told to call.
pub(super) fn url(mut bound: SocketAddr) -> String {
    // Every address of this machine is no address to call.
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => bound.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => bound.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{bound}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let (_first, bound) = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let refusal = listen(bound).await.unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("{bound} is taken by another program\nhint: ")), "{refusal}");
    }

    #[test]
    fn who_listens_everywhere_is_called_on_loopback() {
        for (bound, called) in [
            ("0.0.0.0:7171", "http://127.0.0.1:7171"),
            ("[::]:7171", "http://[::1]:7171"),
            ("10.0.0.1:7171", "http://10.0.0.1:7171"),
        ] {
            assert_eq!(url(bound.parse().unwrap()), called);
        }
    }
}
