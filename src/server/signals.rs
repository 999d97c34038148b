//! The signals that tell the process to stop.

use std::sync::OnceLock;

use tokio::{runtime::Builder, sync::watch};

use super::{ServeError, Shutdown};

/// Stops a service as soon as the process is told to.
pub async fn stop(mut told: watch::Receiver<bool>, shutdown: Shutdown) {
    if told.wait_for(|told| *told).await.is_ok() {
        tracing::info!("stopping: requests in flight are finished");
        shutdown.stop();
    }
}

/// Turns true when the process is told to stop, by SIGTERM or SIGINT. One for
/// the process, so that none is lost from one service to the next.
///
/// # Errors
/// No thread or runtime.
pub fn told() -> Result<watch::Receiver<bool>, ServeError> {
    static TOLD: OnceLock<watch::Receiver<bool>> = OnceLock::new();
    if let Some(told) = TOLD.get() {
        return Ok(told.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build().map_err(ServeError::Thread)?;
    let (sender, told) = watch::channel(false);
    let listen = move || {
        runtime.block_on(async move {
            signalled().await;
            sender.send_replace(true);
            // whoever asks later hears of it too
            std::future::pending::<()>().await;
        });
    };
    std::thread::Builder::new().name("rapport-signals".to_owned()).spawn(listen).map_err(ServeError::Thread)?;
    Ok(TOLD.get_or_init(|| told).clone())
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("listening for signals failed: the service can only be killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
