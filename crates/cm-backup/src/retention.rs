//! Which of many backups of one database stay, by their times alone.

use cm_project::Backup;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Which backups stay: those that any of these keeps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// The newest so many of each database; at least one.
    pub keep: Option<u32>,
    /// Those not older than so many days.
    pub keep_days: Option<u32>,
    /// The newest of each of so many days that have one.
    pub daily: Option<u32>,
    /// The newest of each of so many weeks.
    pub weekly: Option<u32>,
    /// The newest of each of so many months.
    pub monthly: Option<u32>,
}

impl Retention {
    /// What a section of `cm.toml` says.
    pub fn of(section: &Backup) -> Retention {
        Retention {
            keep: section.keep,
            keep_days: section.keep_days,
            daily: section.keep_daily,
            weekly: section.keep_weekly,
            monthly: section.keep_monthly,
        }
    }

    /// Whether anything is to be removed at all.
    pub fn is_set(self) -> bool {
        self != Retention::default()
    }

    /// Whether each of the backups of these times, the newest first, stays. The newest always does.
    pub fn keeps(self, times: &[Timestamp], now: Timestamp) -> Vec<bool> {
        let date = |at: &Timestamp| at.to_zoned(TimeZone::UTC).date();
        let daily = newest_of_each(times, self.daily, |at| date(at));
        let weekly = newest_of_each(times, self.weekly, |at| monday(date(at)));
        let monthly = newest_of_each(times, self.monthly, |at| date(at).first_of_month());
        let places = times.iter().enumerate();
        let stays = places.map(|(place, at)| {
            let counted = self.keep.is_some_and(|keep| place < keep.max(1) as usize);
            let age = now.duration_since(*at).as_secs();
            let young = self.keep_days.is_some_and(|days| age < i64::from(days) * DAY);
            place == 0 || counted || young || daily[place] || weekly[place] || monthly[place]
        });
        stays.collect()
    }
}

/// The first day of a date's week.
fn monday(date: Date) -> Date {
    let week = date.iso_week_date();
    jiff::civil::ISOWeekDate::new(week.year(), week.week(), jiff::civil::Weekday::Monday)
        .map_or(date, |monday| monday.date())
}

/// Whether each is the newest of its period, among so many of the newest periods that have one.
fn newest_of_each(times: &[Timestamp], periods: Option<u32>, period: impl Fn(&Timestamp) -> Date) -> Vec<bool> {
    let (mut left, mut last) = (periods.unwrap_or_default(), None);
    let stays = times.iter().map(|at| {
        let this = period(at);
        let is_first = last != Some(this);
        last = Some(this);
        let stays = is_first && left > 0;
        left = left.saturating_sub(u32::from(is_first));
        stays
    });
    stays.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The days of 2026 that stay, of backups at noon and at six on each of the last 70 days.
    fn kept(retention: Retention) -> Vec<String> {
        let now: Timestamp = "2026-06-10T13:00:00Z".parse().expect("a time");
        let noon: Timestamp = "2026-06-10T12:00:00Z".parse().expect("a time");
        let days = (0..70).flat_map(|day| {
            [noon - jiff::SignedDuration::from_hours(day * 24), noon - jiff::SignedDuration::from_hours(day * 24 + 6)]
        });
        let times: Vec<_> = days.collect();
        let stays = times.iter().zip(retention.keeps(&times, now)).filter(|(_, stays)| *stays);
        stays.map(|(at, _)| at.strftime("%m-%dT%H").to_string()).collect()
    }

    #[test]
    fn backups_are_kept_by_number_age_day_week_and_month() {
        let none = Retention::default();
        assert_eq!(kept(none), ["06-10T12"], "the newest stays");
        assert_eq!(kept(Retention { keep: Some(3), ..none }), ["06-10T12", "06-10T06", "06-09T12"]);
        assert_eq!(kept(Retention { keep_days: Some(1), ..none }), ["06-10T12", "06-10T06"]);
        assert_eq!(kept(Retention { daily: Some(3), ..none }), ["06-10T12", "06-09T12", "06-08T12"]);
        assert_eq!(kept(Retention { weekly: Some(3), ..none }), ["06-10T12", "06-07T12", "05-31T12"]);
        assert_eq!(kept(Retention { monthly: Some(9), ..none }), ["06-10T12", "05-31T12", "04-30T12"]);
        let all = Retention { daily: Some(2), weekly: Some(2), monthly: Some(2), ..none };
        assert_eq!(kept(all), ["06-10T12", "06-09T12", "06-07T12", "05-31T12"]);
    }
}
