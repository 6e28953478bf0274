/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "gc/policy.h"

/* What the rules keep; no state, no clock. */

#define DAY_US 86400000000ll

enum rule { RULE_LAST, RULE_HOURLY, RULE_DAILY, RULE_WEEKLY, RULE_MONTHLY, RULE_YEARLY, RULES };

static const char *const rule_names[RULES] = {"last",   "hourly",  "daily",
                                              "weekly", "monthly", "yearly"};

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* Months since year 0 of the day number (1970-01-01 is day 0); Gregorian, after H. Hinnant's
 * days_from_civil: years begin in March, eras have 400 of them. */
static int64_t
month_of(int64_t day)
{
    int64_t z = day + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 2 : mp - 10; /* 0 is January */

    return (yoe + era * 400 + (month < 2 ? 1 : 0)) * 12 + month;
}

static int64_t
bucket_of(enum rule rule, const struct point *p)
{
    int64_t us = p->published_at_us;
    int64_t day = floor_div(us, DAY_US);

    switch (rule) {
    case RULE_HOURLY:
        return floor_div(us, DAY_US / 24);
    case RULE_DAILY:
        return day;
    case RULE_WEEKLY:
        return floor_div(day + 3, 7); /* 1970-01-01 was a Thursday; weeks begin on Monday */
    case RULE_MONTHLY:
        return month_of(day);
    case RULE_YEARLY:
        return floor_div(month_of(day), 12);
    case RULE_LAST:
    case RULES:
        break;
    }
    return (int64_t)p->seq;
}

static void
keep(struct verdict *v, const char *why)
{
    size_t len = v->keep ? strlen(v->reason) : 0;

    (void)snprintf(v->reason + len, sizeof(v->reason) - len, "%s%s", len > 0 ? ", " : "", why);
    v->keep = true;
}

/* hit NULL: among all points; else among those that are whole. */
static void
apply_rule(enum rule rule, uint32_t wanted, struct point *const *points, const bool *hit,
           size_t count, struct verdict *out)
{
    char why[64];
    int64_t last = 0;
    uint32_t kept = 0;

    (void)snprintf(why, sizeof(why), "%s, a damaged point does not count", rule_names[rule]);
    for (size_t i = 0; i < count && kept < wanted; i++) {
        int64_t bucket = bucket_of(rule, points[i]);

        if (hit != NULL && hit[i]) {
            continue;
        }
        if (kept == 0 || bucket != last) {
            if (hit == NULL) {
                keep(&out[i], rule_names[rule]);
            } else if (!out[i].keep) {
                keep(&out[i], why);
            }
            last = bucket;
            kept++;
        }
    }
}

static void
apply_policy(const struct policy *policy, struct point *const *points, const bool *hit,
             size_t count, struct verdict *out)
{
    const uint32_t wanted[RULES] = {policy->last,   policy->hourly,  policy->daily,
                                    policy->weekly, policy->monthly, policy->yearly};

    for (unsigned r = 0; r < RULES; r++) {
        apply_rule((enum rule)r, wanted[r], points, NULL, count, out);
    }
    for (unsigned r = 0; hit != NULL && r < RULES; r++) {
        apply_rule((enum rule)r, wanted[r], points, hit, count, out);
    }
}

void
retention_judge(const struct policy *policy, struct point *const *points,
                const struct catalog_marks *marks, const bool *hit, size_t count, int64_t now_us,
                struct verdict *out)
{
    size_t whole = 0; /* the newest one that is */

    while (hit != NULL && whole < count && hit[whole]) {
        whole++;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct verdict){.point = points[i]};
    }
    if (policy != NULL) {
        apply_policy(policy, points, hit, count, out);
    }
    for (size_t i = 0; i < count; i++) {
        char text[TIME_TEXT_SIZE];
        char reason[100];

        if (policy == NULL) {
            keep(&out[i], "no policy");
        }
        if (i == 0) {
            keep(&out[i], "the newest point of its vm");
        } else if (i == whole) {
            keep(&out[i], "the newest point of its vm that is not damaged");
        }
        for (size_t m = 0; m < marks[i].count; m++) {
            if (marks[i].list[m].kind == MARK_HOLD) {
                (void)snprintf(reason, sizeof(reason), "held: %.60s", marks[i].list[m].why);
                keep(&out[i], reason);
            }
        }
        if (marks[i].locked_until_us > now_us) {
            time_format(marks[i].locked_until_us, text);
            (void)snprintf(reason, sizeof(reason), "locked until %.19sZ", text);
            keep(&out[i], reason);
        }
        if (!out[i].keep) {
            (void)snprintf(out[i].reason, sizeof(out[i].reason), "no rule of policy '%s' keeps it",
                           policy->name);
        }
    }
}
