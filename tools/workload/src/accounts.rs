// SPDX-License-Identifier: BSD-2-Clause
//! Transfers between accounts that many clients share: the sum stays, whoever takes part.

use core::fmt::Write;
use core::sync::atomic::Ordering;

use crate::client::{Client, Error, Place, Transaction};
use crate::random::Random;
use crate::run::{Failed, Kind, Run, Watchman};

/// How many accounts there are.
pub const ACCOUNTS: u32 = 4;
/// What they hold together.
pub const TOTAL: u64 = 4000;

/// Conflicts of one transfer after which something is wrong.
const CONFLICTS: u32 = 10_000;

/// What one try came to.
enum Tried {
    Done,
    Conflict,
    /// There are no accounts.
    Missing,
}

fn text(amount: u64) -> heapless::String<20> {
    let mut text = heapless::String::new();
    // 20 digits have room for every number.
    let _ = write!(text, "{amount}");
    text
}

fn fail(run: &Run<'_>, place: &impl Place, what: &str) -> Failed {
    let path = run.workload.account(0);
    run.wrong(place, format_args!("transaction over {path}..: {what}"));
    Failed
}

/// Makes the accounts unless somebody else has.
pub(crate) async fn setup<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
) -> Result<(), Failed> {
    for _ in 0..CONFLICTS {
        match make(run, client).await {
            Ok(()) => return Ok(()),
            Err(Error::Again) => {}
            Err(error) => return Err(fail(&run, place, error.name())),
        }
    }
    Err(fail(&run, place, "no commit without a conflict"))
}

async fn make<C: Client>(run: Run<'_>, client: &C) -> Result<(), Error> {
    let open = client.begin().await?;
    match open.read(&run.workload.account(0)).await {
        Err(Error::NotFound) => {}
        found => {
            open.end(false).await?;
            return found.map(drop);
        }
    }
    let share = text(TOTAL / u64::from(ACCOUNTS));
    for account in 0..ACCOUNTS {
        open.write(&run.workload.account(account), share.as_bytes())
            .await?;
    }
    open.end(true).await
}

/// One transfer, as often as it takes.
pub(crate) async fn step<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    random: &mut Random,
) -> Result<(), Failed> {
    let watchman = Watchman::start(&run, place);
    for _ in 0..CONFLICTS {
        match transfer(run, place, client, random).await? {
            Tried::Done => {
                watchman.end(&run, place, Kind::Transaction);
                return Ok(());
            }
            Tried::Conflict => {
                run.tally.retries.fetch_add(1, Ordering::Relaxed);
            }
            Tried::Missing => return Err(fail(&run, place, "an account is gone")),
        }
    }
    Err(fail(&run, place, "no commit without a conflict"))
}

async fn transfer<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    random: &mut Random,
) -> Result<Tried, Failed> {
    let workload = run.workload;
    let refused = |error: Error| fail(&run, place, error.name());
    let open = run.request(client.begin()).await.map_err(refused)?;
    let mut amounts = [0u64; ACCOUNTS as usize];
    for (account, amount) in (0..).zip(&mut amounts) {
        let read = run.request(open.read(&workload.account(account))).await;
        let value = match read {
            Ok(value) => value,
            Err(Error::NotFound) => return Ok(Tried::Missing),
            Err(error) => return Err(refused(error)),
        };
        let parsed = core::str::from_utf8(value.as_ref())
            .ok()
            .and_then(|text| text.parse().ok());
        *amount = parsed.ok_or_else(|| fail(&run, place, "an account holds no number"))?;
    }
    // Only a commit says that all were read at one time.
    let sum = amounts
        .iter()
        .fold(0u64, |sum, amount| sum.wrapping_add(*amount));
    let from = random.below(ACCOUNTS);
    let to = (from + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
    let (rich, poor) = (amounts[from as usize], amounts[to as usize]);
    let moved = u64::from(random.below(10)).min(rich);
    for (account, amount) in [(from, rich - moved), (to, poor.wrapping_add(moved))] {
        let path = workload.account(account);
        run.request(open.write(&path, text(amount).as_bytes()))
            .await
            .map_err(refused)?;
    }
    match run.request(open.end(true)).await {
        Ok(()) if sum == TOTAL => Ok(Tried::Done),
        Ok(()) => Err(fail(
            &run,
            place,
            "committed over accounts that were never so",
        )),
        Err(Error::Again) => Ok(Tried::Conflict),
        Err(error) => Err(refused(error)),
    }
}
