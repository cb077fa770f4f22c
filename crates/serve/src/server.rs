//! A running service: listeners, model threads, signals, and the way to stop.

use crate::admin::{self, Loader, Swapper, Target};
use crate::connections::{self, Phase};
use crate::log::Log;
use crate::options::{ServeOptions, millis};
use crate::state::Shared;
use crate::{routes, worker};
use sidereal_core::{Error, Result};
use sidereal_experiment::Served;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Threads that serve connections; the model has its own.
const NETWORK_THREADS: usize = 2;

/// A service that runs until it is stopped.
pub struct Server {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    shared: Arc<Shared>,
    swapper: Arc<Swapper>,
    phase: watch::Sender<Phase>,
    serving: Vec<JoinHandle<()>>,
    workers: Vec<thread::JoinHandle<()>>,
    runtime: Runtime,
}

impl Server {
    /// Listens and answers from `served`, which was opened from `target`; `loader` opens others.
    ///
    /// Errors: options outside their range, addresses that cannot be listened on.
    pub fn start(
        served: Served,
        target: Target,
        loader: Arc<Loader>,
        options: ServeOptions,
        log: Log,
    ) -> Result<Self> {
        options.check()?;
        let (public, private) = (options.public()?, options.private()?);
        let model_threads = options.model_threads();
        let runtime = Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(|e| Error::other("starting the threads of the service", e))?;
        let listen = |address: SocketAddr| -> Result<(TcpListener, SocketAddr)> {
            let failed = |e| Error::other(format!("listening on {address}"), e);
            let listener = runtime.block_on(TcpListener::bind(address)).map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            Ok((listener, bound))
        };
        let (listener, address) = listen(public)?;
        let private = private.map(listen).transpose()?;
        let shared = Arc::new(Shared::new(served, options, log)?);
        let swapper = Arc::new(Swapper::new(shared.clone(), loader, target));
        let workers = (0..model_threads)
            .map(|i| {
                let shared = shared.clone();
                thread::Builder::new()
                    .name(format!("model-{i}"))
                    .spawn(move || worker::work(&shared.queue, &shared.metrics))
                    .map_err(|e| Error::other("starting a thread for the model", e))
            })
            .collect::<Result<Vec<_>>>()?;
        let (phase, heard) = watch::channel(Phase::Running);
        let router = routes::router(shared.clone());
        let mut serving = vec![runtime.spawn(connections::serve(
            listener,
            router,
            shared.clone(),
            heard.clone(),
        ))];
        let mut admin = None;
        if let Some((listener, bound)) = private {
            let router = admin::router(swapper.clone());
            serving.push(runtime.spawn(connections::serve(
                listener,
                router,
                shared.clone(),
                heard,
            )));
            admin = Some(bound);
        }
        Ok(Server { address, admin, shared, swapper, phase, serving, workers, runtime })
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin interface listens.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// State of the service, for those that look into it.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hears signals from now on: SIGTERM and SIGINT stop the service, a second one at once;
    /// SIGHUP reads again what is served.
    pub fn hear_signals(&self) -> Result<()> {
        let _inside = self.runtime.enter();
        let listen = |kind| signal(kind).map_err(|e| Error::other("listening to signals", e));
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let (shared, phase, swapper) =
            (self.shared.clone(), self.phase.clone(), self.swapper.clone());
        self.runtime.spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => stop(&shared, &phase),
                    _ = interrupt.recv() => stop(&shared, &phase),
                    _ = hangup.recv() => {
                        let swapper = swapper.clone();
                        // What came of it is seen in the metrics and in the version of answers.
                        tokio::spawn(async move { swapper.swap(Target::clone).await });
                    }
                }
            }
        });
        Ok(())
    }

    /// Asks the service to stop: it answers what it has accepted, then [`Server::wait`] returns.
    pub fn stop(&self) {
        stop(&self.shared, &self.phase);
    }

    /// Waits until the service has stopped.
    ///
    /// Errors: connections that were still open when their time was over, or when it was asked to
    /// stop a second time.
    pub fn wait(self) -> Result<()> {
        let Server { shared, phase, serving, workers, runtime, .. } = self;
        let o = &shared.options;
        // No request takes longer; what is left then is a client that does not read its answer.
        let longest =
            millis(o.head_timeout) + millis(o.body_timeout) + millis(o.timeout) + GRACE_OF_ALL;
        let mut heard = phase.subscribe();
        let ended = runtime.block_on(async {
            let _ = heard.wait_for(|p| *p >= Phase::Draining).await;
            let all = async {
                for one in serving {
                    let _ = one.await;
                }
            };
            tokio::time::timeout(longest, all).await
        });
        shared.queue.close();
        let cut = shared.metrics.connections.load(Relaxed);
        let early = *phase.borrow() == Phase::Ended;
        if ended.is_ok() && !early {
            for worker in workers {
                let _ = worker.join();
            }
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
        shared.log.close();
        match ended.is_ok() && cut == 0 {
            true => Ok(()),
            false => Err(Error::Cancelled(format!("{cut} connections were cut off"))),
        }
    }
}

/// Added to the longest time of a request before connections are cut off.
const GRACE_OF_ALL: Duration = Duration::from_secs(1);

fn stop(shared: &Shared, phase: &watch::Sender<Phase>) {
    shared.drain();
    phase.send_modify(|p| {
        *p = if *p == Phase::Running { Phase::Draining } else { Phase::Ended };
    });
}
