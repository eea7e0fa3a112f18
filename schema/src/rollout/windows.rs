//! When a rollout offers its revision: weekdays and hours in the time of a place.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The days as they are written, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a day.
const DAY: u16 = 24 * 60;
const MINUTE_MICROS: i64 = 60_000_000;

/// A text that is no window, or no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// No window.
    #[error(
        "cannot read {0:?} as a window: write days and hours, such as mon-fri 22:00-04:00, sat,sun 00:00-24:00 or daily 02:00-05:00"
    )]
    Window(String),
    /// No time zone.
    #[error("there is no time zone {0:?}: name one such as Europe/Vienna or UTC")]
    Zone(String),
}

/// Hours of some weekdays. A window that ends at or before its beginning goes on into the next day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Window {
    /// The days on which it begins, Monday first.
    days: [bool; 7],
    /// The minute of the day at which it begins.
    from: u16,
    /// The minute of the day at which it ends.
    to: u16,
}

impl Window {
    /// Whether this minute of this day is in it.
    fn takes(&self, day: Weekday, minute: u16) -> bool {
        let begins_on = |day: Weekday| self.days[usize::from(day.to_monday_zero_offset().unsigned_abs())];
        match self.from < self.to {
            true => begins_on(day) && (self.from..self.to).contains(&minute),
            false if minute >= self.from => begins_on(day),
            false => minute < self.to && begins_on(day.previous()),
        }
    }
}

/// `mon-fri 22:00-04:00`
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<String> = Vec::new();
        let mut at = 0;
        while at < 7 {
            let length = self.days[at..].iter().take_while(|day| **day).count();
            match length {
                0 => {}
                1 => runs.push(DAYS[at].to_owned()),
                2 => runs.extend(DAYS[at..at + 2].iter().map(|day| (*day).to_owned())),
                _ => runs.push(format!("{}-{}", DAYS[at], DAYS[at + length - 1])),
            }
            at += length.max(1);
        }
        let days = if self.days == [true; 7] { "daily".to_owned() } else { runs.join(",") };
        let (from, to) = (self.from, self.to);
        write!(f, "{days} {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        read(text).ok_or_else(|| WindowError::Window(text.chars().take(80).collect()))
    }
}

fn read(text: &str) -> Option<Window> {
    let lower = text.trim().to_ascii_lowercase();
    let (named, hours) = lower.split_once(' ')?;
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let mut days = [false; 7];
    for part in named.split(',') {
        let (first, last) = match part.split_once('-') {
            _ if part == "daily" => (0, 6),
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        // `sat-mon` goes over the end of the week.
        (first..=if last < first { last + 7 } else { last }).for_each(|at| days[at % 7] = true);
    }
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| digits(text));
        let (hour, minute) = (number(hour)?, number(minute).filter(|minute| *minute < 60)?);
        Some(hour * 60 + minute).filter(|minute| *minute <= DAY)
    };
    let (from, to) = hours.trim().split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from < DAY && from != to).then_some(Window { days, from, to })
}

impl TryFrom<String> for Window {
    type Error = WindowError;

    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> String {
        window.to_string()
    }
}

/// Windows in the time of a zone, with its daylight saving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Windows {
    zone: TimeZone,
    windows: Vec<Window>,
}

/// How [`Windows`] are stored.
#[derive(Serialize, Deserialize)]
struct Written {
    zone: String,
    windows: Vec<Window>,
}

impl Windows {
    /// Windows in the time of this zone.
    ///
    /// # Errors
    /// There is no such zone.
    pub fn new(zone: &str, windows: Vec<Window>) -> Result<Self, WindowError> {
        let zone = match zone {
            "UTC" => TimeZone::UTC,
            zone => TimeZone::get(zone).map_err(|_| WindowError::Zone(zone.chars().take(80).collect()))?,
        };
        Ok(Self { zone, windows })
    }

    /// The zone's name.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The windows.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Whether a moment is in one of them, in microseconds since 1970.
    ///
    /// A moment has one local time, so an hour that a clock change skips is in no window, and one that it repeats is in its
    /// window twice.
    #[must_use]
    pub fn are_open(&self, micros: i64) -> bool {
        let Ok(moment) = Timestamp::from_microsecond(micros) else { return false };
        let local = self.zone.to_datetime(moment);
        let (date, time): (Date, Time) = (local.date(), local.time());
        let minute = u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs());
        self.windows.iter().any(|window| window.takes(date.weekday(), minute))
    }

    /// The first moment from this one on that is in a window, within eight days.
    #[must_use]
    pub fn next(&self, micros: i64) -> Option<i64> {
        let whole = micros - micros.rem_euclid(MINUTE_MICROS);
        let minutes = (0..8 * i64::from(DAY)).map(|minute| (whole + minute * MINUTE_MICROS).max(micros));
        minutes.into_iter().find(|moment| self.are_open(*moment))
    }
}

/// `mon-fri 22:00-04:00 (Europe/Vienna)`
impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows: Vec<String> = self.windows.iter().map(ToString::to_string).collect();
        write!(f, "{} ({})", windows.join(" or "), self.zone())
    }
}

impl TryFrom<Written> for Windows {
    type Error = WindowError;

    fn try_from(written: Written) -> Result<Self, WindowError> {
        Self::new(&written.zone, written.windows)
    }
}

impl From<Windows> for Written {
    fn from(windows: Windows) -> Written {
        Written { zone: windows.zone().to_owned(), windows: windows.windows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(moment: &str) -> i64 {
        moment.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn windows(zone: &str, texts: &[&str]) -> Windows {
        Windows::new(zone, texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap()
    }

    #[test]
    fn windows_are_read_and_written() {
        for (text, written) in [
            ("mon-fri 22:00-04:00", "mon-fri 22:00-04:00"),
            ("Sat,SUN 00:00-24:00", "sat,sun 00:00-24:00"),
            ("daily 02:00-05:30", "daily 02:00-05:30"),
            ("mon-sun 02:00-05:30", "daily 02:00-05:30"),
            ("sat-mon 01:00-02:00", "mon,sat,sun 01:00-02:00"),
            ("tue,mon,wed,fri 01:00-02:00", "mon-wed,fri 01:00-02:00"),
        ] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), written, "{text}");
        }
        for text in [
            "",
            "mon",
            "22:00-04:00",
            "mon-fri",
            "mon 22:00",
            "mon 22:00-22:00",
            "mon 24:00-02:00",
            "mon 2:00-4:00",
            "mon 22:00-24:01",
            "mon 22:60-23:00",
            "mo 22:00-23:00",
            "mon- 22:00-23:00",
            "mon 22:00-23:00 x",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
        assert!(Windows::new("Europe/Atlantis", Vec::new()).is_err());
    }

    #[test]
    fn a_window_is_in_the_time_of_its_zone() {
        let nights = windows("Europe/Vienna", &["mon-fri 22:00-04:00"]);
        // 2026-11-27 is a Friday; Vienna is an hour ahead of UTC in winter, and two in summer.
        for (moment, is_open) in [
            ("2026-11-27T20:59:59Z", false),
            ("2026-11-27T21:00:00Z", true),
            ("2026-11-28T02:59:59Z", true),
            ("2026-11-28T03:00:00Z", false),
            ("2026-11-28T21:30:00Z", false),
            ("2026-11-29T23:30:00Z", false),
            ("2026-11-30T01:00:00Z", false),
            ("2026-11-30T21:00:00Z", true),
            ("2026-07-03T19:59:00Z", false),
            ("2026-07-03T20:00:00Z", true),
        ] {
            assert_eq!(nights.are_open(micros(moment)), is_open, "{moment}");
        }
        let utc = windows("UTC", &["sat 00:00-24:00"]);
        assert!(
            utc.are_open(micros("2026-11-28T23:59:59Z")) && !utc.are_open(micros("2026-11-29T00:00:00Z"))
        );
    }

    #[test]
    fn clock_changes_skip_and_repeat_an_hour() {
        let early = windows("Europe/Vienna", &["daily 02:00-03:00"]);
        let open = |from: &str| {
            let from = micros(from);
            (0..24 * 60).filter(|minute| early.are_open(from + minute * MINUTE_MICROS)).count()
        };
        // 2026-03-29 has no such hour, 2026-10-25 has it twice.
        assert_eq!([open("2026-03-28T00:00:00Z"), open("2026-03-29T00:00:00Z")], [60, 0]);
        assert_eq!([open("2026-10-24T12:00:00Z"), open("2026-10-25T12:00:00Z")], [120, 60]);
    }

    #[test]
    fn the_next_window_is_found() {
        let nights = windows("Europe/Vienna", &["mon-fri 22:00-04:00"]);
        let next = |moment: &str| nights.next(micros(moment));
        assert_eq!(next("2026-11-28T12:00:30Z"), Some(micros("2026-11-30T21:00:00Z")));
        assert_eq!(next("2026-11-27T21:00:30Z"), Some(micros("2026-11-27T21:00:30Z")));
        assert_eq!(windows("UTC", &[]).next(0), None);
    }
}
