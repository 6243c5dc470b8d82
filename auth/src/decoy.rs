//! What a name that nobody has costs to check: as much as one that somebody has, also where old verifiers were made at
//! another cost than new ones are.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OnceCell};

use crate::{Authority, Denied};

/// How long it is taken for known at which costs the passwords of the store are kept, which others may set too.
const KNOWN: Duration = Duration::from_secs(60);

/// The costs of what is stored, and which of them a name that nobody has is given.
#[derive(Default)]
pub(crate) struct Decoys {
    /// The secret that the choice follows from: nobody outside can tell what a name will cost.
    secret: OnceCell<[u8; 32]>,
    costs: Mutex<Option<(Instant, Costs)>>,
}

/// Costs, and how many passwords have each; today's last.
type Costs = Vec<(String, u64)>;

impl Authority {
    /// A verifier that no password has, for `name` in case nobody has it. The name is always given the same of the
    /// stored costs, in proportion to how many have it, so that names by their costs tell nothing.
    pub(crate) async fn decoy(&self, name: &str) -> Result<String, Denied> {
        let Decoys { secret, costs } = &self.decoys;
        let secret = secret.get_or_try_init(|| self.store.secret("decoys")).await.map_err(Denied::Unavailable)?;
        let mut share = [0; 8];
        blake3::Hasher::new_keyed(secret).update(name.as_bytes()).finalize_xof().fill(&mut share);
        let mut costs = costs.lock().await;
        let known = match costs.take().filter(|(at, _)| at.elapsed() < KNOWN) {
            Some(known) => known,
            None => (Instant::now(), self.stored_costs().await?),
        };
        let (_, known) = costs.insert(known);
        Ok(self.passwords.decoy(pick(known, u64::from_le_bytes(share)).unwrap_or(self.passwords.cost())))
    }

    /// Looks anew at what is stored, since a verifier has another cost now.
    pub(crate) async fn forget_costs(&self) {
        self.decoys.costs.lock().await.take();
    }

    async fn stored_costs(&self) -> Result<Costs, Denied> {
        let mut costs = self.store.password_costs().await.map_err(Denied::Unavailable)?;
        // As passwords come to today's cost one by one, names go over to it and never back.
        costs.sort_by_key(|(cost, _)| (cost == self.passwords.cost(), cost.clone()));
        Ok(costs)
    }
}

/// The cost that stands where `share` of all does.
fn pick(costs: &[(String, u64)], share: u64) -> Option<&str> {
    let all: u64 = costs.iter().map(|(_, count)| count).sum();
    let mut left = (u128::from(share) * u128::from(all)) >> 64;
    for (cost, count) in costs {
        match left.checked_sub(u128::from(*count)) {
            Some(beyond) => left = beyond,
            None => return Some(cost),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cost_has_its_share_of_the_names() {
        let costs = vec![("old".to_owned(), 1), ("new".to_owned(), 3)];
        let at = |quarter: u64| pick(&costs, quarter << 62 | 5);
        assert_eq!([at(0), at(1), at(2), at(3)], [Some("old"), Some("new"), Some("new"), Some("new")]);
        assert_eq!((pick(&costs, u64::MAX), pick(&[], 7)), (Some("new"), None));
    }
}
