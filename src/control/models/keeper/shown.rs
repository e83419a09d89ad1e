//! What `/v1/models` shows of the keeper.

use super::{Entry, Keeper, Proof, Scored};
use crate::control::models::folder::{self, Rows};
use crate::control::models::roles::Role;
use crate::control::view::{ModelState, ModelView, ModelsView, Rollback};
use crate::dataplane::score::Model;
use crate::units::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

impl Keeper {
    /// What it says of itself.
    pub(super) fn view_of(&self, rows: Rows, model: &Model, path: &Path, at: Timestamp) -> ModelView {
        let manifest = model.manifest();
        let least = self.settings.threshold.filter(|_| rows == Rows::Flow);
        let families =
            manifest.thresholds.iter().map(|(family, own)| (family.clone(), f64::from(least.unwrap_or(*own))));
        let unusual = manifest.anomaly_threshold.map(|own| ("unusual".to_owned(), f64::from(own)));
        ModelView {
            name: manifest.name.clone(),
            rows: rows.name().to_owned(),
            schema_version: manifest.schema_version,
            format: manifest.format,
            file: path.display().to_string(),
            sha256: manifest.model.sha256.clone(),
            state: ModelState::Loaded,
            error: None,
            changed: false,
            loaded: Some(at),
            golden_worst: Some(model.golden_worst()),
            families: manifest.families.clone(),
            thresholds: families.chain(unusual).collect(),
            cost_ns: model.cost().points().iter().map(|(rows, ns)| (*rows as u32, *ns)).collect(),
            scored: 0,
            us_per_row: None,
            queues: None,
            comparison: None,
            drift: None,
        }
    }

    /// As `/v1/models` shows all of them.
    pub(in crate::control::models) fn view(&mut self) -> ModelsView {
        let now = self.clock.now();
        let mut items = Vec::new();
        for rows in Rows::ALL {
            let roles = self.roles(rows).clone();
            for (role, state) in [(&roles.active, ModelState::Active), (&roles.shadow, ModelState::Shadow)] {
                let Some(Role { name, model: held }) = role else { continue };
                let entry = self.entries.iter().find(|entry| entry.found.name() == *name);
                let mut view = self.view_of(rows, &held.model, &held.path, held.at);
                view.state = state;
                view.changed =
                    entry.is_some_and(|entry| entry.found.path == held.path && entry.found.stamp != held.stamp);
                if let Some(Proof::Failed(words)) = entry.map(|entry| &entry.proof).filter(|_| view.changed) {
                    view.error = Some(words.clone());
                }
                let scored = roles.active.as_ref().map_or(0, |active| self.scored_by(&active.name));
                let queues = self.taken();
                let bench = &mut self.benches[rows as usize];
                if state == ModelState::Active {
                    view.drift = bench.drift.as_mut().map(|drift| drift.report(now));
                    view.queues = (rows == Rows::Flow).then_some(queues);
                } else {
                    view.comparison = bench.active_name().map(|with| bench.tally.shown(with, scored));
                }
                items.push(view);
            }
        }
        for Entry { found, proof } in &self.entries {
            let name = found.name();
            if items.iter().any(|item| item.name == name) && !matches!(proof, Proof::Failed(_)) {
                continue;
            }
            if items.iter().any(|item| item.file == found.path.display().to_string()) {
                continue;
            }
            let head = found.head.as_ref().ok();
            let state = match proof {
                Proof::Passed(view) => {
                    items.push((**view).clone());
                    continue;
                }
                Proof::Waiting => ModelState::Waiting,
                Proof::Unused => ModelState::Unused,
                Proof::Failed(_) => ModelState::Failed,
            };
            items.push(ModelView {
                name,
                rows: head.map(|head| head.schema.chars().take(64).collect()).unwrap_or_default(),
                schema_version: head.map_or(0, |head| head.schema_version),
                format: head.map_or(0, |head| head.format),
                file: found.path.display().to_string(),
                sha256: head.map(folder::Head::sha256).unwrap_or_default(),
                state,
                error: if let Proof::Failed(words) = proof { Some(words.clone()) } else { None },
                changed: false,
                loaded: None,
                golden_worst: None,
                families: Vec::new(),
                thresholds: BTreeMap::new(),
                cost_ns: Vec::new(),
                scored: 0,
                us_per_row: None,
                queues: None,
                comparison: None,
                drift: None,
            });
        }
        for item in &mut items {
            let Scored { rows, timed, ns } = self.scored.get(&item.name).copied().unwrap_or_default();
            item.scored = rows;
            item.us_per_row = (timed > 0).then(|| ns as f64 / timed as f64 / 1e3);
        }
        let rollback = self.last.and_then(|rows| Some((rows, self.roles(rows).before.as_ref()?)));
        ModelsView {
            items,
            directory: self.settings.directory.display().to_string(),
            overlooked: self.overlooked,
            rollback: rollback.map(|(rows, before)| Rollback {
                rows: rows.name().to_owned(),
                name: before.as_ref().map(|role| role.name.clone()),
            }),
            reason: None,
        }
    }

    /// Rows compared and agreed on, by kind.
    pub(in crate::control::models) fn compared(&self) -> impl Iterator<Item = (Rows, u64, u64)> {
        Rows::ALL.into_iter().zip(&self.benches).map(|(rows, bench)| {
            let (compared, agreed) = bench.tally.agree();
            (rows, compared, agreed)
        })
    }
}
