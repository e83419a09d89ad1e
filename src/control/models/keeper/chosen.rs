//! The operator's choice, kept and chosen again.

use super::super::choice::{self, Chosen, rows_named};
use super::super::folder::Rows;
use super::{Keeper, Wanted};

impl Keeper {
    /// Does again what the operator chose before the restart, where the same models are configured. To be called once, before the
    /// first round; what cannot be had again is named, and what is configured goes on.
    pub(in super::super) fn choose_again(&mut self) {
        let Some(path) = self.settings.choice.clone() else { return };
        let chosen = match choice::read(&path) {
            Ok(chosen) => chosen,
            Err(words) => return tracing::warn!("{words}"),
        };
        let with_rows = chosen.into_iter().filter_map(|(name, chosen)| Some((rows_named(&name)?, chosen)));
        for (rows, Chosen { configured, active, shadow }) in with_rows {
            if configured != self.configured[rows as usize] {
                tracing::info!(
                    "models of {}: another is configured than when one was chosen: that one is active",
                    rows.name()
                );
                continue;
            }
            let now = self.roles(rows).active.as_ref().map(|role| role.name.clone());
            let orders = match (&active, &now) {
                (Some(name), _) => Some((name, Wanted::Active)),
                (None, Some(name)) => Some((name, Wanted::Nothing)),
                (None, None) => None,
            };
            for (name, wanted) in orders.into_iter().chain(shadow.as_ref().map(|name| (name, Wanted::Shadow))) {
                if let Err(error) = self.set(name, wanted) {
                    tracing::warn!("model {name} was chosen before and cannot be so again: {error}");
                }
            }
        }
    }

    /// Writes what is active and shadow.
    pub(super) fn keep_choice(&self) {
        let Some(path) = &self.settings.choice else { return };
        let of = |rows: Rows| {
            let roles = self.roles(rows);
            let [active, shadow] =
                [&roles.active, &roles.shadow].map(|role| role.as_ref().map(|role| role.name.clone()));
            (rows.name().to_owned(), Chosen { configured: self.configured[rows as usize].clone(), active, shadow })
        };
        if let Err(words) = choice::write(path, Rows::ALL.into_iter().map(of).collect()) {
            tracing::warn!("{words}");
        }
    }
}
