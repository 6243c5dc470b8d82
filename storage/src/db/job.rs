//! Work for the database, as its threads see it: run as often as need be, answered once.

use std::panic::AssertUnwindSafe;

use tokio::sync::oneshot;

use super::{Read, Tx};
use crate::Error;

/// A read that waits for a thread.
pub(super) trait ReadJob: Send {
    /// Does the work.
    fn run(&mut self, tx: &Read<'_>);
    /// Whether it is one statement, which needs no transaction around it.
    fn is_single(&self) -> bool;
    /// Answers the caller: with what the last run found, unless the snapshot failed.
    fn answer(self: Box<Self>, done: Result<(), Error>);
    /// Whether nobody waits for the answer any more.
    fn is_forsaken(&self) -> bool;
}

/// A write that waits for a thread.
pub(super) trait WriteJob: Send {
    /// Does the work; whether its changes shall stay.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Whether it may share a transaction with others: it locks every account that it touches before all else.
    fn is_grouped(&self) -> bool;
    /// Answers the caller, after the commit or in spite of it.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
    /// Whether nobody waits for the answer any more.
    fn is_forsaken(&self) -> bool;
}

type Answered<T> = oneshot::Receiver<Result<T, Error>>;

/// Makes a read of a closure, and the place where its answer comes.
pub(super) fn read<T, F>(work: F, single: bool) -> (Box<dyn ReadJob>, Answered<T>)
where
    T: Send + 'static,
    F: FnMut(&Read<'_>) -> Result<T, Error> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    (Box::new(Pending { work, alone: single, result: None, answer }), answered)
}

/// Makes a write of a closure, and the place where its answer comes.
pub(super) fn write<T, F>(work: F, grouped: bool) -> (Box<dyn WriteJob>, Answered<T>)
where
    T: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    (Box::new(Pending { work, alone: !grouped, result: None, answer }), answered)
}

struct Pending<T, F> {
    work: F,
    /// Whether it has a transaction, or a statement, of its own.
    alone: bool,
    result: Option<Result<T, Error>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Pending<T, F> {
    fn settle(self, done: Result<(), Error>) {
        let result = match (self.result, done) {
            (Some(Err(error)), Ok(())) | (_, Err(error)) => Err(error),
            (Some(result), Ok(())) => result,
            (None, Ok(())) => Err(Error::internal("the work was not done")),
        };
        let _ = self.answer.send(result);
    }
}

/// A panic in the work ends this piece of it and no other.
fn guard<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(Error::internal("a transaction panicked")))
}

impl<T: Send, F: FnMut(&Read<'_>) -> Result<T, Error> + Send> ReadJob for Pending<T, F> {
    fn run(&mut self, tx: &Read<'_>) {
        self.result = Some(guard(|| (self.work)(tx)));
    }

    fn is_single(&self) -> bool {
        self.alone
    }

    fn answer(self: Box<Self>, done: Result<(), Error>) {
        self.settle(done);
    }

    fn is_forsaken(&self) -> bool {
        self.answer.is_closed()
    }
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send> WriteJob for Pending<T, F> {
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let result = guard(|| (self.work)(tx));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn is_grouped(&self) -> bool {
        !self.alone
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        self.settle(committed);
    }

    fn is_forsaken(&self) -> bool {
        self.answer.is_closed()
    }
}
