//! `linux.resources.devices`: rules in their order become one default and what is excepted from it, which is all that
//! the devices controller of v1 can hold, and what is made into a program for v2.

use std::fmt;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::super::PlanError;

pub(super) const FIELD: &str = "linux.resources.devices";
/// More rules than anybody writes. Each is compared with all others.
const MAX_RULES: usize = 1024;

/// The devices that every container may use, whatever the rules say: the default ones, and terminals.
const ALWAYS: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Kinds of device files, as the kernel numbers them for programs (`BPF_DEVCG_DEV_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Block = 1,
    Char = 2,
}

/// What is done with a device, as bits (`BPF_DEVCG_ACC_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access(pub(super) u8);

impl Access {
    pub(super) const MKNOD: Self = Self(1);
    pub(super) const ALL: Self = Self(7);
    const LETTERS: [(char, u8); 3] = [('r', 2), ('w', 4), ('m', 1)];

    /// `rwm` or a part of it; nothing is all of it.
    fn parse(text: Option<&str>) -> Result<Self, PlanError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Self::ALL) };
        let mut bits = 0;
        for letter in text.chars() {
            let known = Self::LETTERS.into_iter().find(|(known, _)| *known == letter);
            let Some((_, bit)) = known else {
                let value = text.to_owned();
                return Err(PlanError::Invalid { field: FIELD, value, reason: "isn't made of r, w and m" });
            };
            bits |= bit;
        }
        Ok(Self(bits))
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn is_in(self, other: Self) -> bool {
        self.without(other).0 == 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = Self::LETTERS.into_iter().filter(|(_, bit)| self.0 & bit != 0);
        letters.map(|(letter, _)| letter).collect::<String>().fmt(f)
    }
}

/// Which devices a rule is about. No number is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Which {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
}

impl Which {
    fn covers(self, other: Self) -> bool {
        let number = |own: Option<u32>, other| own.is_none() || own == other;
        self.kind == other.kind && number(self.major, other.major) && number(self.minor, other.minor)
    }

    fn overlaps(self, other: Self) -> bool {
        let number = |own: Option<u32>, other: Option<u32>| own.is_none() || other.is_none() || own == other;
        self.kind == other.kind && number(self.major, other.major) && number(self.minor, other.minor)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// What all rules together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::plan) struct Rules {
    /// Whether what isn't excepted is allowed.
    pub(super) allow: bool,
    /// The other way round, for these, in the spec's order.
    pub(super) exceptions: Vec<(Which, Access)>,
}

impl Rules {
    /// The rules of a spec, and those that every container has. As with runc, what no rule says anything about is
    /// denied, any device file may be made, and the default devices may be used. The devices that the spec gives to the
    /// container may be too, unless a rule is about them.
    pub(super) fn new(asked: &[LinuxDeviceCgroup], given: &[LinuxDevice]) -> Result<Self, PlanError> {
        if asked.len() > MAX_RULES {
            let reason = format!("{} rules are more than {MAX_RULES}", asked.len());
            return Err(PlanError::unsupported(FIELD, reason));
        }
        let mut rules = Self::default();
        let mut named = Vec::new();
        for rule in asked {
            rules.apply(rule, &mut named)?;
        }
        for which in given.iter().filter_map(of_device) {
            if !named.iter().any(|rule| which.overlaps(*rule)) {
                rules.set(true, which, Access::ALL)?;
            }
        }
        for kind in [Kind::Block, Kind::Char] {
            rules.set(true, Which { kind, major: None, minor: None }, Access::MKNOD)?;
        }
        for (major, minor) in ALWAYS {
            let which = Which { kind: Kind::Char, major: Some(major), minor };
            rules.set(true, which, Access::ALL)?;
        }
        Ok(rules)
    }

    fn apply(&mut self, rule: &LinuxDeviceCgroup, named: &mut Vec<Which>) -> Result<(), PlanError> {
        let access = Access::parse(rule.access().as_deref())?;
        let (major, minor) = (number(rule.major())?, number(rule.minor())?);
        let kinds: &[Kind] = match rule.typ() {
            None | Some(LinuxDeviceType::A) if (major, minor, access) == (None, None, Access::ALL) => {
                *self = Self { allow: rule.allow(), exceptions: Vec::new() };
                named.clear();
                return Ok(());
            }
            None | Some(LinuxDeviceType::A) => &[Kind::Block, Kind::Char],
            Some(LinuxDeviceType::B) => &[Kind::Block],
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => &[Kind::Char],
            Some(LinuxDeviceType::P) => {
                let value = "p".to_owned();
                return Err(PlanError::Invalid { field: FIELD, value, reason: "is no kind of device" });
            }
        };
        for &kind in kinds {
            let which = Which { kind, major, minor };
            // Making files of any device is no use of this one.
            if access != Access::MKNOD {
                named.push(which);
            }
            self.set(rule.allow(), which, access)?;
        }
        Ok(())
    }

    /// One rule after those before it. A device that is taken out of a greater exception would need rules in an order,
    /// which the controller of v1 doesn't have: it forgets such a rule without a word. That is an error here, on v2 as
    /// well.
    fn set(&mut self, allow: bool, which: Which, access: Access) -> Result<(), PlanError> {
        if allow != self.allow {
            match self.exceptions.iter_mut().find(|(before, _)| *before == which) {
                Some((_, before)) => before.0 |= access.0,
                None => self.exceptions.push((which, access)),
            }
            return Ok(());
        }
        let hole = self.exceptions.iter().find(|(greater, excepted)| {
            greater.overlaps(which) && !which.covers(*greater) && excepted.overlaps(access)
        });
        if let Some((greater, excepted)) = hole {
            let word = if allow { "allow" } else { "deny" };
            let reason =
                format!("no rule can {word} `{which} {access}` after one about `{greater} {excepted}`");
            return Err(PlanError::unsupported(FIELD, reason));
        }
        for (_, excepted) in self.exceptions.iter_mut().filter(|(smaller, _)| which.covers(*smaller)) {
            *excepted = excepted.without(access);
        }
        self.exceptions.retain(|(_, excepted)| excepted.0 != 0);
        Ok(())
    }

    /// Whether nothing is denied.
    pub(super) fn allow_everything(&self) -> bool {
        self.allow && self.exceptions.is_empty()
    }

    /// Whether a container that can use no devices but those whose files it was given, and those in every way, has
    /// exactly what is allowed here.
    pub(super) fn are_of_files(&self, given: &[LinuxDevice]) -> bool {
        let given: Vec<Which> = given.iter().filter_map(of_device).collect();
        let always = ALWAYS.map(|(major, minor)| Which { kind: Kind::Char, major: Some(major), minor });
        let more = |(which, access): &(Which, Access)| {
            !access.is_in(Access::MKNOD) && !given.contains(which) && !always.contains(which)
        };
        let whole = |which: &Which| {
            self.exceptions.iter().any(|(rule, access)| rule.covers(*which) && *access == Access::ALL)
        };
        !self.allow && !self.exceptions.iter().any(more) && given.iter().all(whole)
    }

    /// Whether some device that is given can't be used in every way.
    pub(super) fn narrow(&self, given: &[LinuxDevice]) -> bool {
        let denied = |which: Which| {
            !self.exceptions.iter().any(|(rule, access)| rule.covers(which) && *access == Access::ALL)
        };
        !self.allow && given.iter().filter_map(of_device).any(denied)
    }

    /// Files of the devices controller of v1, and what is written to them. The first line forgets what a new cgroup has
    /// of the one above it.
    pub(in crate::plan) fn settings(&self) -> Vec<(String, String)> {
        let (default, other) =
            if self.allow { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
        let exceptions =
            self.exceptions.iter().map(|(which, access)| (other.to_owned(), format!("{which} {access}")));
        std::iter::once((default.to_owned(), "a".to_owned())).chain(exceptions).collect()
    }
}

/// A number of a rule. Negative ones are runc's word for any.
fn number(number: Option<i64>) -> Result<Option<u32>, PlanError> {
    match number.filter(|number| *number >= 0) {
        None => Ok(None),
        Some(number) => u32::try_from(number).map(Some).map_err(|_| PlanError::Invalid {
            field: FIELD,
            value: number.to_string(),
            reason: "is no device number",
        }),
    }
}

/// The device that a file stands for. A pipe stands for none.
fn of_device(device: &LinuxDevice) -> Option<Which> {
    let kind = match device.typ() {
        LinuxDeviceType::B => Kind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
        LinuxDeviceType::A | LinuxDeviceType::P => return None,
    };
    let number = |number: i64| u32::try_from(number).ok();
    Some(Which { kind, major: Some(number(device.major())?), minor: Some(number(device.minor())?) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(json: serde_json::Value, given: serde_json::Value) -> Result<Rules, PlanError> {
        let asked: Vec<LinuxDeviceCgroup> = serde_json::from_value(json).unwrap();
        let given: Vec<LinuxDevice> = serde_json::from_value(given).unwrap();
        Rules::new(&asked, &given)
    }

    fn lines(json: serde_json::Value) -> Vec<String> {
        let settings = rules(json, json!([])).unwrap().settings();
        settings.into_iter().map(|(file, value)| format!("{file} {value}")).collect()
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|one| one == line)
    }

    #[test]
    fn the_default_devices_are_allowed_and_nothing_else() {
        let lines = lines(json!([]));
        assert_eq!(lines[0], "devices.deny a");
        for line in ["c 1:3 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm", "c *:* m", "b *:* m"] {
            assert!(has(&lines, &format!("devices.allow {line}")), "{line}: {lines:?}");
        }
        assert_eq!(lines.len(), 12, "{lines:?}");
    }

    #[test]
    fn the_last_rule_wins() {
        let deny = json!({"allow": false, "access": "rwm"});
        let disk = |allow: bool, access: &str| json!({"allow": allow, "type": "b", "major": 8, "minor": 0, "access": access});
        assert!(has(&lines(json!([deny, disk(true, "r")])), "devices.allow b 8:0 r"));
        assert!(has(&lines(json!([deny, disk(true, "r"), disk(true, "w")])), "devices.allow b 8:0 rw"));
        assert!(has(&lines(json!([deny, disk(true, "rwm"), disk(false, "w")])), "devices.allow b 8:0 rm"));
        assert!(!lines(json!([disk(true, "rw"), deny])).iter().any(|line| line.contains("b 8:0")));
        // A rule about more devices is about these too.
        let disks = json!({"allow": false, "type": "b", "major": 8, "access": "rw"});
        assert!(!lines(json!([deny, disk(true, "rw"), disks])).iter().any(|line| line.contains("b 8:0")));
    }

    #[test]
    fn what_is_allowed_can_have_exceptions() {
        let allow = json!({"allow": true, "type": "a", "access": "rwm"});
        let memory = json!({"allow": false, "type": "c", "major": 1, "minor": 1, "access": "rw"});
        assert_eq!(lines(json!([allow, memory])), ["devices.allow a", "devices.deny c 1:1 rw"]);
        assert!(rules(json!([allow]), json!([])).unwrap().allow_everything());
        let again = json!({"allow": true, "type": "c", "major": 1, "access": "rw"});
        assert!(rules(json!([allow, memory, again]), json!([])).unwrap().allow_everything());
    }

    #[test]
    fn a_rule_about_any_kind_is_about_both() {
        let lines = lines(json!([{"allow": true, "major": 7, "access": "r"}]));
        assert!(has(&lines, "devices.allow b 7:* r") && has(&lines, "devices.allow c 7:* r"), "{lines:?}");
    }

    #[test]
    fn a_hole_in_an_exception_is_an_error() {
        let disks = json!({"allow": true, "type": "b", "major": 8, "access": "rw"});
        let disk = json!({"allow": false, "type": "b", "major": 8, "minor": 0, "access": "w"});
        let error = rules(json!([disks, disk]), json!([])).unwrap_err().to_string();
        assert!(error.contains("b 8:0 w") && error.contains("b 8:* rw"), "{error}");
        // Not of the same access.
        let made = json!({"allow": false, "type": "b", "major": 8, "minor": 0, "access": "m"});
        let whole = json!({"allow": true, "type": "b", "major": 8, "access": "r"});
        assert!(rules(json!([whole, made]), json!([])).is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        for rule in [
            json!({"allow": true, "type": "p", "major": 1}),
            json!({"allow": true, "type": "c", "access": "rx"}),
            json!({"allow": true, "type": "c", "major": 1_i64 << 33}),
        ] {
            assert!(rules(json!([rule]), json!([])).is_err(), "{rule}");
        }
        let many = vec![json!({"allow": true, "type": "c", "major": 1}); MAX_RULES + 1];
        assert!(rules(json!(many), json!([])).is_err());
    }

    #[test]
    fn given_devices_are_allowed_unless_a_rule_is_about_them() {
        let fuse = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
        let deny = json!({"allow": false, "access": "rwm"});
        let text = |asked| {
            let settings = rules(asked, fuse.clone()).unwrap().settings();
            settings.into_iter().find(|(_, value)| value.starts_with("c 10:229")).map(|(_, value)| value)
        };
        assert_eq!(text(json!([deny])).as_deref(), Some("c 10:229 rwm"));
        let read = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"});
        assert_eq!(text(json!([deny, read])).as_deref(), Some("c 10:229 r"));
        let no = json!({"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
        assert_eq!(text(json!([deny, no])), None);
        // docker's way of allowing to make any.
        let make = json!({"allow": true, "type": "c", "access": "m"});
        assert_eq!(text(json!([deny, make])).as_deref(), Some("c 10:229 rwm"));
    }

    #[test]
    fn files_are_as_good_as_rules_that_are_about_nothing_else() {
        let fuse = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
        let given: Vec<LinuxDevice> = serde_json::from_value(fuse.clone()).unwrap();
        let of = |asked| {
            let rules = rules(asked, fuse.clone()).unwrap();
            (rules.are_of_files(&given), rules.narrow(&given))
        };
        let allow = |major: u32, minor: u32, access: &str| json!([{"allow": false}, {"allow": true, "type": "c", "major": major, "minor": minor, "access": access}]);
        assert_eq!(of(json!([])), (true, false));
        assert_eq!(of(allow(10, 229, "rwm")), (true, false));
        assert_eq!(of(allow(10, 229, "r")), (false, true));
        assert_eq!(of(allow(1, 3, "rwm")), (true, false));
        assert_eq!(of(allow(10, 200, "rwm")), (false, false));
        assert_eq!(of(json!([{"allow": true}])), (false, false));
    }
}
