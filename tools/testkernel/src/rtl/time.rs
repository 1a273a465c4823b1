// SPDX-License-Identifier: BSD-2-Clause
//! NT time, in 100 ns since 1601, to calendar fields and back. Pure; any IRQL.

/// `TIME_FIELDS`: eight 16-bit words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeFields {
    /// The year, from 1601.
    pub(crate) year: i16,
    /// 1 to 12.
    pub(crate) month: i16,
    /// 1 to 31.
    pub(crate) day: i16,
    /// 0 to 23.
    pub(crate) hour: i16,
    /// 0 to 59.
    pub(crate) minute: i16,
    /// 0 to 59.
    pub(crate) second: i16,
    /// 0 to 999.
    pub(crate) milliseconds: i16,
    /// 0 is Sunday.
    pub(crate) weekday: i16,
}

const MILLISECOND: i64 = 10_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

fn leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_before(year: i64) -> i64 {
    let years = year - 1601;
    365 * years + years / 4 - years / 100 + years / 400
}

/// Splits a time into fields.
pub(crate) fn to_fields(time: i64) -> TimeFields {
    let milliseconds = time.max(0) / MILLISECOND;
    let (mut days, rest) = (milliseconds / DAY, milliseconds % DAY);
    let weekday = (days + 1) % 7;
    let mut year = 1601 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    days -= days_before(year);
    let mut month = 1;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    TimeFields {
        year: year as i16,
        month: month as i16,
        day: days as i16 + 1,
        hour: (rest / 3_600_000) as i16,
        minute: (rest / 60_000 % 60) as i16,
        second: (rest / 1000 % 60) as i16,
        milliseconds: (rest % 1000) as i16,
        weekday: weekday as i16,
    }
}

/// Joins fields into a time; `None` when one is out of range.
pub(crate) fn from_fields(fields: &TimeFields) -> Option<i64> {
    let year = i64::from(fields.year);
    let month = i64::from(fields.month);
    let fine = fields.year >= 1601
        && (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&i64::from(fields.day))
        && (0..24).contains(&fields.hour)
        && (0..60).contains(&fields.minute)
        && (0..60).contains(&fields.second)
        && (0..1000).contains(&fields.milliseconds);
    if !fine {
        return None;
    }
    let days = days_before(year)
        + (1..month).map(|month| month_days(year, month)).sum::<i64>()
        + i64::from(fields.day)
        - 1;
    let minutes = i64::from(fields.hour) * 60 + i64::from(fields.minute);
    let seconds = minutes * 60 + i64::from(fields.second);
    Some((days * DAY + seconds * 1000 + i64::from(fields.milliseconds)) * MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_split_as_they_should() {
        let zero = to_fields(0);
        assert_eq!(
            (zero.year, zero.month, zero.day, zero.weekday),
            (1601, 1, 1, 1)
        );
        // The Unix epoch was a Thursday.
        let unix = to_fields(116_444_736_000_000_000);
        assert_eq!(
            (unix.year, unix.month, unix.day, unix.weekday),
            (1970, 1, 1, 4)
        );
        let leap = to_fields(116_444_736_000_000_000 + 951_827_696_789 * MILLISECOND);
        assert_eq!(
            (leap.year, leap.month, leap.day, leap.weekday),
            (2000, 2, 29, 2)
        );
        assert_eq!(
            (leap.hour, leap.minute, leap.second, leap.milliseconds),
            (12, 34, 56, 789)
        );
    }

    #[test]
    fn joining_is_the_inverse_of_splitting_for_every_day() {
        for day in 0..200_000 {
            let time = (day * DAY + 123_456) * MILLISECOND;
            assert_eq!(from_fields(&to_fields(time)), Some(time), "day {day}");
        }
        let bad = TimeFields {
            month: 13,
            ..to_fields(0)
        };
        assert_eq!(from_fields(&bad), None);
    }
}
