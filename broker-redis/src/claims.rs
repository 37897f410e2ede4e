use crate::{
    link::Link,
    log::milliseconds,
    names::Kind,
    scripts::{CLAIM, SETTLE},
    trouble::Trouble,
};
use bytes::Bytes;
use std::time::Duration;

impl Link {
    pub(crate) async fn claim(&self, key: &str, value: &[u8], keep: Duration) -> Result<Option<Bytes>, Trouble> {
        let mut command = CLAIM.on(&[&self.names.of(Kind::Claim, key)]);
        command.arg(value).arg(milliseconds(keep));
        let (known, _) = self.request::<Option<Vec<u8>>>(self.names.partition(key), &command).await?;
        Ok(known.map(Bytes::from))
    }

    pub(crate) async fn settle(&self, key: &str, from: &[u8], to: &[u8], keep: Duration) -> Result<bool, Trouble> {
        let mut command = SETTLE.on(&[&self.names.of(Kind::Claim, key)]);
        command.arg(from).arg(to).arg(milliseconds(keep));
        let (settled, _) = self.request::<bool>(self.names.partition(key), &command).await?;
        Ok(settled)
    }
}
