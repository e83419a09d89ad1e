//! Which episodes and recordings a run counts: with a model that has seen the others.

use super::Family;
use std::collections::BTreeSet;

/// Why a scope was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error(
        "expected {{\"tools\": {{FAMILY: [TOOL, ...]}}, \"recordings\": [NAME, ...]}}, either of which may be missing; found {0}"
    )]
    Shape(String),
}

/// What a model never saw. By default everything counts.
#[derive(Clone, Default, Debug)]
pub struct Scope {
    tools: Option<BTreeSet<(Family, String)>>,
    recordings: Option<BTreeSet<String>>,
}

impl Scope {
    /// Reads `{"tools": {FAMILY: [TOOL, ...]}, "recordings": [NAME, ...]}`; `tools` may as well be a list of `FAMILY/TOOL`, or
    /// stand alone. Other members are the trainer's.
    ///
    /// # Errors
    /// Neither of the two, a family that does not exist.
    pub fn read(text: &str) -> Result<Scope, ScopeError> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        let refused = |value: &serde_json::Value| ScopeError::Shape(value.to_string().chars().take(80).collect());
        let word = |value: &serde_json::Value| value.as_str().map(str::to_owned).ok_or_else(|| refused(value));
        let is_bare = value
            .as_object()
            .is_some_and(|members| !members.is_empty() && members.keys().all(|name| Family::named(name).is_some()));
        let tools = match if is_bare { Some(&value) } else { value.get("tools") } {
            None => None,
            Some(serde_json::Value::Object(families)) => {
                let mut all = BTreeSet::new();
                for (family, tools) in families {
                    let family = Family::named(family).ok_or_else(|| refused(&value))?;
                    for tool in tools.as_array().ok_or_else(|| refused(tools))? {
                        all.insert((family, word(tool)?));
                    }
                }
                Some(all)
            }
            Some(serde_json::Value::Array(pairs)) => {
                let mut all = BTreeSet::new();
                for pair in pairs {
                    let text = match pair.as_array().map(Vec::as_slice) {
                        Some([family, tool]) => format!("{}/{}", word(family)?, word(tool)?),
                        _ => word(pair)?,
                    };
                    let (family, tool) = text.split_once('/').ok_or_else(|| refused(pair))?;
                    all.insert((Family::named(family).ok_or_else(|| refused(pair))?, tool.to_owned()));
                }
                Some(all)
            }
            Some(other) => return Err(refused(other)),
        };
        let recordings = match value.get("recordings") {
            None => None,
            Some(names) => {
                Some(names.as_array().ok_or_else(|| refused(names))?.iter().map(word).collect::<Result<_, _>>()?)
            }
        };
        if tools.is_none() && recordings.is_none() {
            return Err(refused(&value));
        }
        Ok(Scope { tools, recordings })
    }

    /// Does an episode of this tool count?
    pub fn counts(&self, family: Family, tool: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(&(family, tool.to_owned())))
    }

    /// Do false alerts of this recording count?
    pub fn has(&self, recording: &str) -> bool {
        self.recordings.as_ref().is_none_or(|recordings| recordings.contains(recording))
    }
}
