//! The token, on every call: loopback is not private on a shared machine.

use std::sync::Arc;

use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets calls pass that carry the token.
#[derive(Clone, Debug)]
pub(super) struct RequireToken {
    expected: Arc<str>,
}

impl RequireToken {
    pub(super) fn new(token: &str) -> Self {
        Self { expected: format!("Bearer {token}").into() }
    }
}

impl Interceptor for RequireToken {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let shown = request.metadata().get("authorization").ok_or_else(|| {
            Status::unauthenticated("the call carries no token\nhint: send `authorization: Bearer TOKEN` with it; coordinator.json holds the token")
        })?;
        if same(shown.as_bytes(), self.expected.as_bytes()) {
            Ok(request)
        } else {
            Err(Status::unauthenticated(
                "the token is not this coordinator's\nhint: coordinator.json in its DSCTL_HOME holds it",
            ))
        }
    }
}

/// Takes as long for a wrong first letter as for a wrong last one.
fn same(shown: &[u8], expected: &[u8]) -> bool {
    let differences = shown.iter().zip(expected).fold(0, |all, (a, b)| all | std::hint::black_box(a ^ b));
    shown.len() == expected.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(same(b"Bearer abc", b"Bearer abc"));
        for wrong in ["Bearer abd", "Bearer ab", "Bearer abcd", "bearer abc", "", "abc"] {
            assert!(!same(wrong.as_bytes(), b"Bearer abc"), "{wrong}");
        }
    }
}
