//! What differs between the snapd versions that were recorded.

use schema::assertion::AssertionType;

/// A version of snapd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapd {
    /// 2.57.6, as Debian 12 packages it.
    V2_57,
    /// 2.77 of August 2026.
    V2_77,
}

impl Snapd {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V2_57, Self::V2_77];

    /// The daemon's `User-Agent`.
    #[must_use]
    pub fn agent(self) -> &'static str {
        match self {
            Self::V2_57 => {
                "snapd/2.57.6-1+deb12u1 (series 16; classic; devmode) debian/12 (amd64) linux/KERNEL"
            }
            Self::V2_77 => {
                "snapd/2.77+g75.bee548f (series 16; classic; devmode) debian/12 (amd64) linux/KERNEL"
            }
        }
    }

    /// The `User-Agent` of the command that talks to the daemon.
    #[must_use]
    pub fn command_agent(self) -> &'static str {
        match self {
            Self::V2_57 => "snapd/2.57.6-1+deb12u1 (series 16; classic) snap debian/12 (amd64) linux/KERNEL",
            Self::V2_77 => "snapd/2.77+g75.bee548f (series 16; classic) snap debian/12 (amd64) linux/KERNEL",
        }
    }

    /// The `fields` of a refresh.
    #[must_use]
    pub fn fields(self) -> Vec<&'static str> {
        let all = "architectures base confinement links contact created-at description download epoch license name \
                   prices private publisher revision snap-id snap-yaml summary title type version website store-url \
                   integrity media common-ids categories";
        all.split_whitespace().filter(|name| self.knows(name)).collect()
    }

    /// The `fields` of an info.
    #[must_use]
    pub fn info_fields(self) -> Vec<&'static str> {
        let all = "architectures base confinement links contact created-at description download epoch license name \
                   prices private publisher revision snap-id summary title type version website store-url resources \
                   media common-ids categories";
        all.split_whitespace().filter(|name| self.knows(name)).collect()
    }

    /// The `fields` of a find.
    #[must_use]
    pub fn find_fields(self) -> Vec<&'static str> {
        let all = "base confinement links contact description download license prices private publisher revision \
                   summary title type version website store-url media common-ids categories channel";
        all.split_whitespace().filter(|name| self.knows(name)).collect()
    }

    fn knows(self, field: &str) -> bool {
        self == Self::V2_77 || !["links", "integrity", "categories", "resources"].contains(&field)
    }

    /// The highest format of an assertion type that it reads.
    #[must_use]
    pub fn max_format(self, kind: AssertionType) -> u32 {
        match (self, kind) {
            (Self::V2_57, AssertionType::SnapDeclaration) => 5,
            (Self::V2_57, AssertionType::SystemUser) => 1,
            (Self::V2_77, AssertionType::SnapDeclaration) => 7,
            (Self::V2_77, AssertionType::SystemUser) => 2,
            (Self::V2_77, AssertionType::AccountKey) => 1,
            _ => 0,
        }
    }

    /// `assertion-max-formats` of a refresh.
    #[must_use]
    pub fn max_formats(self) -> serde_json::Value {
        match self {
            Self::V2_57 => serde_json::json!({"snap-declaration": 5, "system-user": 1}),
            Self::V2_77 => serde_json::json!({"account-key": 1, "snap-declaration": 7, "system-user": 2}),
        }
    }

    /// Does a refresh of everything repeat the tracked channel in each action?
    #[must_use]
    pub fn repeats_channel(self) -> bool {
        self == Self::V2_77
    }

    /// The snap whose presence proves connectivity.
    #[must_use]
    pub fn connectivity_snap(self) -> &'static str {
        match self {
            Self::V2_57 => "core",
            Self::V2_77 => "snapd",
        }
    }
}
