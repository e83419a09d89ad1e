//! Which model does what, of one kind of rows: pure bookkeeping of names and what belongs to them.

/// A model by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Role<T> {
    pub(super) name: String,
    pub(super) model: T,
}

/// Who is active, who is shadow, and who was active before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Roles<T> {
    pub(super) active: Option<Role<T>>,
    pub(super) shadow: Option<Role<T>>,
    /// What one step back makes active; `None`: there is no step back.
    pub(super) before: Option<Option<Role<T>>>,
}

impl<T> Default for Roles<T> {
    fn default() -> Roles<T> {
        Roles { active: None, shadow: None, before: None }
    }
}

impl<T: Clone> Roles<T> {
    pub(super) fn is_active(&self, name: &str) -> bool {
        self.active.as_ref().is_some_and(|role| role.name == name)
    }

    pub(super) fn is_shadow(&self, name: &str) -> bool {
        self.shadow.as_ref().is_some_and(|role| role.name == name)
    }

    /// Makes it, or nobody, active; a shadow that becomes active is no shadow any more.
    pub(super) fn activate(&mut self, role: Option<Role<T>>) {
        if role.as_ref().is_some_and(|role| self.is_shadow(&role.name)) {
            self.shadow = None;
        }
        self.before = Some(std::mem::replace(&mut self.active, role));
    }

    /// One step back, of which there is one. `None`: there is none.
    pub(super) fn step_back(&mut self) -> Option<Option<Role<T>>> {
        let before = self.before.take()?;
        if before.as_ref().is_some_and(|role| self.is_shadow(&role.name)) {
            self.shadow = None;
        }
        Some(std::mem::replace(&mut self.active, before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn role(name: &str) -> Role<()> {
        Role { name: name.to_owned(), model: () }
    }

    fn names(roles: &Roles<()>) -> (Option<&str>, Option<&str>) {
        (roles.active.as_ref().map(|role| &*role.name), roles.shadow.as_ref().map(|role| &*role.name))
    }

    #[test]
    fn one_step_back_and_no_further() {
        let mut roles = Roles::default();
        assert_eq!(roles.step_back(), None);
        roles.activate(Some(role("a")));
        roles.shadow = Some(role("b"));
        roles.activate(Some(role("b")));
        assert_eq!(names(&roles), (Some("b"), None), "no model is both");
        roles.shadow = Some(role("a"));
        assert_eq!(roles.step_back(), Some(Some(role("b"))));
        assert_eq!(names(&roles), (Some("a"), None));
        assert_eq!(roles.step_back(), None);
        roles.activate(None);
        assert_eq!(names(&roles), (None, None));
        assert_eq!(roles.step_back(), Some(None));
        assert_eq!(names(&roles), (Some("a"), None));
    }

    proptest! {
        /// Whatever is ordered, no model is active and shadow at once, and a step back leads to what was active before.
        #[test]
        fn no_model_is_active_and_shadow(orders in proptest::collection::vec((0_u8..4, 0_usize..3), 0..60)) {
            let mut roles = Roles::default();
            let mut before: Option<Option<String>> = None;
            for (order, which) in orders {
                let name = ["a", "b", "c"][which];
                let active = roles.active.as_ref().map(|role| role.name.clone());
                match order {
                    0 => { roles.activate(Some(role(name))); before = Some(active); }
                    1 if !roles.is_active(name) => roles.shadow = Some(role(name)),
                    2 => { roles.activate(None); before = Some(active); }
                    3 => {
                        let stepped = roles.step_back();
                        prop_assert_eq!(stepped.is_some(), before.is_some());
                        if let Some(wanted) = before.take() {
                            prop_assert_eq!(roles.active.as_ref().map(|role| role.name.clone()), wanted);
                        }
                    }
                    _ => {}
                }
                let both = roles.active.as_ref().zip(roles.shadow.as_ref());
                prop_assert!(both.is_none_or(|(active, shadow)| active.name != shadow.name));
            }
        }
    }
}
