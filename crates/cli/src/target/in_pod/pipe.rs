//! This program in a pod, and its streams here.

use crate::failure::{Failure, ToldAlready};
use crate::output;
use std::io::Write as _;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use valkeeper_kube::remote::{Process, Remote};

/// For what has been said before the end and is still on its way.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);

/// Runs it there with these first bytes on its stdin, and then ours if that is wanted. Its results are ours, and so is its exit code.
pub(crate) async fn run(remote: &Remote, first: &[u8], ours_too: bool) -> anyhow::Result<()> {
    run_into(remote, first, ours_too, output::bytes).await
}

/// Runs it there with these bytes on its stdin, and answers what it says.
pub(crate) async fn answer(remote: &Remote, first: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut said = Vec::new();
    let keep = |bytes: &[u8]| {
        said.extend_from_slice(bytes);
        Ok(())
    };
    run_into(remote, first, false, keep).await?;
    Ok(said)
}

async fn run_into(
    remote: &Remote,
    first: &[u8],
    ours_too: bool,
    say: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let process = remote.run_inside(&["inside"]).await.map_err(Failure::from)?;
    let Process { mut stdin, mut stdout, mut stderr, mut ending } = process;
    let feed = async {
        stdin.write_all(first).await?;
        if ours_too {
            tokio::io::copy(&mut tokio::io::stdin(), &mut stdin).await?;
        }
        stdin.shutdown().await
    };
    let said = async {
        tokio::try_join!(
            each(&mut stdout, say),
            each(&mut stderr, |bytes| Ok(std::io::stderr().lock().write_all(bytes)?)),
        )
    };
    let feed = async {
        // A program that has ended reads nothing any more; its exit code says more than that.
        let _ = feed.await;
        std::future::pending::<()>().await;
    };
    let spoken = async {
        tokio::pin!(said);
        tokio::select! {
            result = &mut said => {
                result?;
                anyhow::Ok(ending.code().await)
            }
            code = ending.code() => {
                if code.is_ok() && let Ok(result) = tokio::time::timeout(LAST_WORDS_WITHIN, &mut said).await {
                    result?;
                }
                Ok(code)
            }
        }
    };
    let code = tokio::select! {
        code = spoken => code?.map_err(Failure::from)?,
        () = feed => 0,
    };
    if code == 0 { Ok(()) } else { Err(ToldAlready(code).into()) }
}

async fn each(
    from: &mut (impl AsyncRead + Unpin),
    mut say: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => say(buffer.get(..length).unwrap_or_default())?,
        }
    }
}
