/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define US_PER_SECOND   INT64_C(1000000)
#define SECONDS_PER_DAY INT64_C(86400)

/* What "0000-01-01T00:00:00Z" and "9999-12-31T23:59:59.999999Z" are; RFC 3339 has four digits for
 * the year, so nothing outside can be written. */
#define TIME_FIRST_US (INT64_C(-719528) * SECONDS_PER_DAY * US_PER_SECOND)
#define TIME_LAST_US  (INT64_C(2932897) * SECONDS_PER_DAY * US_PER_SECOND - 1)

/*
 * Days since 1970-01-01 of a day of the proleptic Gregorian calendar and back.  Years are counted
 * from 1 March, so that the leap day is the last of its year; 400 years have 146097 days, and
 * 719468 days lie between 0000-03-01 and 1970-01-01.
 */
static int64_t
days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3; /* March is 0 */
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * m + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void
date_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t d = days + 719468;
    int64_t era = (d >= 0 ? d : d - 146096) / 146097;
    int64_t day_of_era = d - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

void
time_format(int64_t us, char out[TIME_TEXT_SIZE])
{
    int64_t days;
    int64_t rest;
    int64_t year;
    int64_t month;
    int64_t day;

    if (us < TIME_FIRST_US) {
        us = TIME_FIRST_US;
    } else if (us > TIME_LAST_US) {
        us = TIME_LAST_US;
    }
    days = us / (SECONDS_PER_DAY * US_PER_SECOND);
    rest = us % (SECONDS_PER_DAY * US_PER_SECOND);
    if (rest < 0) {
        days--;
        rest += SECONDS_PER_DAY * US_PER_SECOND;
    }
    date_from_days(days, &year, &month, &day);
    (void)snprintf(out, TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", (int)year,
                   (int)month, (int)day, (int)(rest / US_PER_SECOND / 3600),
                   (int)(rest / US_PER_SECOND / 60 % 60), (int)(rest / US_PER_SECOND % 60),
                   (int)(rest % US_PER_SECOND));
}

/* Exactly count digits at *s, which moves on. */
static bool
take_number(const char **s, int count, int64_t *out)
{
    int64_t value = 0;

    for (int i = 0; i < count; i++) {
        char c = (*s)[i];

        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (c - '0');
    }
    *s += count;
    *out = value;
    return true;
}

static bool
take_char(const char **s, char c)
{
    if (**s != c) {
        return false;
    }
    (*s)++;
    return true;
}

static int64_t
days_in_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* ".5", ".123456", ".123456789" (digits after the sixth are dropped), or nothing. */
static bool
take_fraction(const char **s, int64_t *us)
{
    int64_t unit = US_PER_SECOND / 10;
    int64_t digit;

    *us = 0;
    if (**s != '.') {
        return true;
    }
    (*s)++;
    if (!take_number(s, 1, &digit)) {
        return false;
    }
    do {
        *us += digit * unit;
        unit /= 10;
    } while (take_number(s, 1, &digit));
    return true;
}

/* "Z" or "+hh:mm" or "-hh:mm". */
static bool
take_zone(const char **s, int64_t *seconds)
{
    int64_t sign = **s == '-' ? -1 : 1;
    int64_t hours;
    int64_t minutes;

    *seconds = 0;
    if (take_char(s, 'Z') || take_char(s, 'z')) {
        return true;
    }
    if (!take_char(s, '+') && !take_char(s, '-')) {
        return false;
    }
    if (!take_number(s, 2, &hours) || !take_char(s, ':') || !take_number(s, 2, &minutes) ||
        hours > 23 || minutes > 59) {
        return false;
    }
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool
time_parse(int64_t *out_us, const char *text)
{
    const char *s = text;
    int64_t year;
    int64_t month;
    int64_t day;
    int64_t hour;
    int64_t minute;
    int64_t second;
    int64_t fraction;
    int64_t zone;

    if (!take_number(&s, 4, &year) || !take_char(&s, '-') || !take_number(&s, 2, &month) ||
        !take_char(&s, '-') || !take_number(&s, 2, &day)) {
        return false;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) {
        return false;
    }
    if (!take_char(&s, 'T') && !take_char(&s, 't')) {
        return false;
    }
    if (!take_number(&s, 2, &hour) || !take_char(&s, ':') || !take_number(&s, 2, &minute) ||
        !take_char(&s, ':') || !take_number(&s, 2, &second)) {
        return false;
    }
    /* 60 is a leap second; it is taken as the first second of the next minute. */
    if (hour > 23 || minute > 59 || second > 60) {
        return false;
    }
    if (!take_fraction(&s, &fraction) || !take_zone(&s, &zone) || *s != '\0') {
        return false;
    }
    *out_us = (days_from_date(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 +
               second - zone) *
                  US_PER_SECOND +
              fraction;
    return true;
}
