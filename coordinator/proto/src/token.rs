//! The token as metadata of a call.

use std::fmt;

use tonic::metadata::errors::InvalidMetadataValue;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// The key of the metadata that carries the token.
pub const AUTHORIZATION: &str = "authorization";

/// What stands under [`AUTHORIZATION`].
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Shows the token with every call of a client.
#[derive(Clone)]
pub struct TokenInterceptor {
    value: MetadataValue<Ascii>,
}

impl TokenInterceptor {
    /// Of a coordinator's token.
    ///
    /// # Errors
    /// When the token holds what cannot stand in a header, such as a line break.
    pub fn new(token: &str) -> Result<Self, InvalidMetadataValue> {
        let mut value: MetadataValue<Ascii> = bearer(token).parse()?;
        value.set_sensitive(true);
        Ok(Self { value })
    }
}

impl Interceptor for TokenInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(AUTHORIZATION, self.value.clone());
        Ok(request)
    }
}

/// The token is a secret.
impl fmt::Debug for TokenInterceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenInterceptor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_shows_the_token() {
        let request = TokenInterceptor::new("abc").unwrap().call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get(AUTHORIZATION).unwrap(), "Bearer abc");
    }

    #[test]
    fn a_token_that_breaks_the_header_is_refused() {
        assert!(TokenInterceptor::new("a\nb").is_err());
    }

    #[test]
    fn it_is_not_printed() {
        assert!(!format!("{:?}", TokenInterceptor::new("secret").unwrap()).contains("secret"));
    }
}
