"""DuckDB macros that the translations call; created once in the engine's instance."""

MACROS = (
    # a text that is no whole number is an error in Dremio; DuckDB would round '1.5'
    """CREATE MACRO text_to_integer(x, kind) AS CASE
        WHEN x IS NULL THEN NULL
        WHEN regexp_full_match(x, '[+-]?[0-9]+') THEN CAST(x AS BIGINT)
        ELSE error('Failed to cast the string ' || x || ' to ' || kind) END""",
    """CREATE MACRO try_text_to_integer(x, kind) AS CASE
        WHEN regexp_full_match(x, '[+-]?[0-9]+') THEN TRY_CAST(x AS BIGINT) END""",
    # DuckDB reads more texts as numbers and dates than Dremio does ('1_000', 'epoch'), and some otherwise ('20-01-05')
    """CREATE MACRO castable_text(x, form, kind) AS CASE
        WHEN x IS NULL OR regexp_full_match(x, form) THEN x
        ELSE error('Failed to cast the string ' || x || ' to ' || kind) END""",
    """CREATE MACRO try_castable_text(x, form, kind) AS CASE WHEN regexp_full_match(x, form) THEN x END""",
    # Java's Double.toString: E notation outside of 0.001 .. 10,000,000
    """CREATE MACRO java_scientific(t, e) AS CASE
        WHEN contains(t, '.') THEN t || 'E' || e ELSE t || '.0E' || e END""",
    """CREATE MACRO java_digits(x) AS
        rtrim(ltrim(replace(split_part(CAST(abs(x) AS VARCHAR), 'e', 1), '.', ''), '0'), '0')""",
    """CREATE MACRO java_exponent(x) AS
        CASE WHEN contains(CAST(x AS VARCHAR), 'e') THEN CAST(split_part(CAST(x AS VARCHAR), 'e', 2) AS INTEGER)
             WHEN abs(x) >= 1 THEN length(split_part(CAST(abs(x) AS VARCHAR), '.', 1)) - 1
             ELSE -1 - (length(split_part(CAST(abs(x) AS VARCHAR), '.', 2))
                        - length(ltrim(split_part(CAST(abs(x) AS VARCHAR), '.', 2), '0'))) END""",
    """CREATE MACRO java_text(x) AS CASE
        WHEN x IS NULL THEN NULL
        WHEN isnan(x) THEN 'NaN'
        WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END
        WHEN x = 0 THEN '0.0'
        WHEN abs(x) >= 0.001 AND abs(x) < 10000000 THEN CAST(x AS VARCHAR)
        ELSE (CASE WHEN x < 0 THEN '-' ELSE '' END) || java_digits(x)[1] || '.'
             || CASE WHEN length(java_digits(x)) > 1 THEN java_digits(x)[2:] ELSE '0' END
             || 'E' || java_exponent(x) END""",
    """CREATE MACRO integer_quotient(n, d) AS CASE
        WHEN d = 0 AND n IS NOT NULL THEN error('divide by zero') ELSE n // d END""",
    """CREATE MACRO float_quotient(n, d) AS CASE
        WHEN d = 0 AND n IS NOT NULL THEN error('divide by zero') ELSE n / d END""",
    """CREATE MACRO ten(n) AS CAST('1' || repeat('0', n) AS HUGEINT)""",  # pow() would go through DOUBLE
    # exact decimal division on the unscaled digits, rounded half away from zero
    """CREATE MACRO decimal_digits(x) AS CAST(replace(CAST(x AS VARCHAR), '.', '') AS HUGEINT)""",
    """CREATE MACRO rounded_quotient(n, d) AS
        n // d + CASE WHEN abs(n % d) >= abs(d) - abs(n % d) THEN
                 CASE WHEN (n < 0) = (d < 0) THEN 1 ELSE -1 END ELSE 0 END""",
    """CREATE MACRO decimal_quotient(n, d, shift) AS CASE
        WHEN d = 0 AND n IS NOT NULL THEN error('divide by zero')
        WHEN shift >= 0 THEN rounded_quotient(n * ten(shift), d)
        ELSE rounded_quotient(n, d * ten(-shift)) END""",
)

TEXT_MACROS = (
    """CREATE MACRO right_part(s, n) AS CASE
        WHEN n >= 0 THEN right(s, n) WHEN -n >= length(s) THEN '' ELSE substring(s, 1 - n) END""",
    """CREATE MACRO substring_from(s, p) AS CASE
        WHEN p > 0 THEN substring(s, p) WHEN p = 0 THEN s
        WHEN -p > length(s) THEN '' ELSE right(s, -p) END""",
    """CREATE MACRO substring_of(s, p, n) AS CASE
        WHEN n <= 0 THEN '' ELSE left(substring_from(s, p), n) END""",
    """CREATE MACRO pad_left(s, n, p) AS CASE
        WHEN n <= 0 THEN '' WHEN length(s) >= n THEN left(s, n) WHEN p = '' THEN s ELSE lpad(s, n, p) END""",
    """CREATE MACRO pad_right(s, n, p) AS CASE
        WHEN n <= 0 THEN '' WHEN length(s) >= n THEN left(s, n) WHEN p = '' THEN s ELSE rpad(s, n, p) END""",
    """CREATE MACRO locate_from(needle, s, p) AS CAST(CASE
        WHEN p < 1 THEN error('Start position must be greater than 0')
        WHEN instr(substring(s, p), needle) = 0 THEN 0 ELSE instr(substring(s, p), needle) + p - 1 END AS INTEGER)""",
    """CREATE MACRO split_part_strict(s, d, n) AS CASE
        WHEN n = 0 THEN error('Index in split_part must not be zero, value provided was 0')
        WHEN d = '' THEN error('SPLIT_PART with an empty delimiter is not supported')
        ELSE split_part(s, d, n) END""",
    """CREATE MACRO initcap_words(s) AS array_to_string(list_transform(
        regexp_extract_all(s, '[\\p{L}\\p{N}]+|[^\\p{L}\\p{N}]+'),
        lambda w: upper(left(w, 1)) || lower(substring(w, 2))), '')""",
    # outside of brackets a dot is a dot
    """CREATE MACRO similar_match(s, p) AS CASE
        WHEN regexp_matches(p, '[\\\\$]|(^|[^\\[])\\^|\\[[^\\]]*[%_.]')
        THEN error('SIMILAR TO with a backslash, $, ^ or one of %_. in brackets is not supported')
        ELSE regexp_full_match(s, replace(replace(replace(p, '.', '[.]'), '%', '.*'), '_', '.'), 's') END""",
    """CREATE MACRO quoted_text(s) AS CASE
        WHEN contains(s, chr(92)) THEN error('QUOTE of a text with backslashes is not supported')
        ELSE '''' || replace(s, '''', chr(92) || '''') || '''' END""",
    """CREATE MACRO java_binary(n) AS CASE WHEN n = 0 THEN '0'
        ELSE ltrim(CAST(CAST(CAST(n AS BIGINT) AS BIT) AS VARCHAR), '0') END""",
)

NUMBER_MACROS = (
    # as machines do it: the count modulo the width, what is shifted out is gone
    """CREATE MACRO shift_left(x, n, width) AS
        (CAST(x AS HUGEINT) * CAST(pow(2, n & (width - 1)) AS HUGEINT) + CAST(pow(2, width - 1) AS HUGEINT))
        & (CAST(pow(2, width) AS HUGEINT) - 1)""",
    """CREATE MACRO round_double(x, n) AS CASE WHEN n = 0 THEN round(x)
        ELSE CAST(CASE WHEN abs(n) > 15 THEN x ELSE round(x, n) END AS DOUBLE) END""",
    """CREATE MACRO trunc_double(x, n) AS trunc(x * pow(10, n)) / pow(10, n)""",
    """CREATE MACRO round_whole(x, n) AS CASE WHEN n >= 0 THEN x WHEN n < -18 THEN 0
        ELSE rounded_quotient(CAST(x AS HUGEINT), ten(-n)) * ten(-n) END""",
    """CREATE MACRO trunc_whole(x, n) AS CASE WHEN n >= 0 THEN x WHEN n < -18 THEN 0
        ELSE (CAST(x AS HUGEINT) // ten(-n)) * ten(-n) END""",
    """CREATE MACRO decimal_round(d, drop) AS rounded_quotient(d, ten(drop))""",
    """CREATE MACRO decimal_trunc(d, drop) AS d // ten(drop)""",
    """CREATE MACRO decimal_floor(d, drop) AS d // ten(drop)
        - CASE WHEN d < 0 AND d % ten(drop) <> 0 THEN 1 ELSE 0 END""",
    """CREATE MACRO decimal_ceil(d, drop) AS d // ten(drop)
        + CASE WHEN d > 0 AND d % ten(drop) <> 0 THEN 1 ELSE 0 END""",
)
LIST_MACROS = (
    """CREATE MACRO list_sorted(l) AS CASE WHEN list_count(l) < len(l)
        THEN error('ARRAY_SORT of a list with nulls is not supported') ELSE list_sort(l) END""",
    # the offset counts from 1, a negative one from the end; 0 is the beginning too
    """CREATE MACRO list_sub(l, o, n) AS
        CASE WHEN n <= 0 OR (o < 0 AND len(l) + o < 0) OR o > len(l) THEN l[1:0]
             ELSE list_slice(l, CASE WHEN o < 0 THEN len(l) + o + 1 WHEN o = 0 THEN 1 ELSE o END,
                             CASE WHEN o < 0 THEN len(l) + o + 1 WHEN o = 0 THEN 1 ELSE o END + n - 1) END""",
    """CREATE MACRO list_part(l, a, b) AS list_slice(l,
        CASE WHEN a < 0 THEN greatest(len(l) + a, 0) ELSE a END + 1,
        CASE WHEN b < 0 THEN len(l) + b ELSE b END)""",
    """CREATE MACRO list_without_at(l, i) AS
        CASE WHEN i IS NULL THEN NULL
             WHEN (CASE WHEN i < 0 THEN len(l) + i ELSE i END) NOT BETWEEN 0 AND len(l) - 1 THEN l
             ELSE list_slice(l, 1, CASE WHEN i < 0 THEN len(l) + i ELSE i END)
                  || list_slice(l, (CASE WHEN i < 0 THEN len(l) + i ELSE i END) + 2, len(l)) END""",
    """CREATE MACRO list_insert_at(l, i, v) AS
        CASE WHEN i IS NULL THEN NULL
             WHEN (CASE WHEN i < 0 THEN len(l) + i ELSE i END) NOT BETWEEN 0 AND len(l)
             THEN error('ARRAY_INSERT: the position ' || i || ' lies outside of the list')
             ELSE list_slice(l, 1, CASE WHEN i < 0 THEN len(l) + i ELSE i END) || [v]
                  || list_slice(l, (CASE WHEN i < 0 THEN len(l) + i ELSE i END) + 1, len(l)) END""",
)
INTERVAL_MACROS = (
    """CREATE MACRO interval_months(i) AS CAST(date_part('year', i) * 12 + date_part('month', i) AS BIGINT)""",
    """CREATE MACRO interval_milliseconds(i) AS
        CAST(date_part('day', i) * 86400000 + date_part('hour', i) * 3600000 + date_part('minute', i) * 60000
             + date_part('millisecond', i) AS BIGINT)""",
    """CREATE MACRO day_interval(ms) AS
        to_days(CAST(ms // 86400000 AS INTEGER)) + to_milliseconds(ms % 86400000)""",
    """CREATE MACRO counted(n, name) AS n || ' ' || name || CASE WHEN abs(n) = 1 THEN ' ' ELSE 's ' END""",
    """CREATE MACRO months_text(i) AS
        counted(interval_months(i) // 12, 'year') || counted(interval_months(i) % 12, 'month')""",
    """CREATE MACRO days_text(i) AS counted(interval_milliseconds(i) // 86400000, 'day')
        || interval_milliseconds(i) % 86400000 // 3600000 || ':' || interval_milliseconds(i) % 3600000 // 60000 || ':'
        || interval_milliseconds(i) % 60000 // 1000 || '.' || interval_milliseconds(i) % 1000""",
)
DATE_MACROS = (
    """CREATE MACRO date_of(y, m, d) AS coalesce(
        TRY_CAST(printf('%04d-%02d-%02d', CAST(y AS BIGINT), CAST(m AS BIGINT), CAST(d AS BIGINT)) AS DATE),
        CASE WHEN y IS NOT NULL AND m IS NOT NULL AND d IS NOT NULL
             THEN error('Unable to convert year=' || y || ' month=' || m || ' day=' || d || ' into a date') END)""",
    """CREATE MACRO moment_of(y, mo, d, h, mi, s, ms) AS
        CASE WHEN h BETWEEN 0 AND 23 AND mi BETWEEN 0 AND 59 AND s BETWEEN 0 AND 59 AND ms BETWEEN 0 AND 999
             THEN CAST(date_of(y, mo, d) AS TIMESTAMP) + to_milliseconds(((h * 60 + mi) * 60 + s) * 1000 + ms)
             WHEN h IS NULL OR mi IS NULL OR s IS NULL OR ms IS NULL THEN NULL
             ELSE error('Unable to convert hour=' || h || ' min=' || mi || ' sec=' || s || ' ms=' || ms
                        || ' into a datetime') END""",
    """CREATE MACRO whole_months(a, b) AS CASE
        WHEN a <= b THEN datediff('month', a, b)
             - CASE WHEN a + to_months(CAST(datediff('month', a, b) AS INTEGER)) > b THEN 1 ELSE 0 END
        ELSE datediff('month', a, b)
             + CASE WHEN a + to_months(CAST(datediff('month', a, b) AS INTEGER)) < b THEN 1 ELSE 0 END END""",
    """CREATE MACRO fractional_months(a, b) AS
        (year(a) - year(b)) * 12 + month(a) - month(b)
        + CASE WHEN day(a) = day(b) OR (a = last_day(a) AND b = last_day(b)) THEN CAST(0 AS DOUBLE)
               ELSE CAST(day(a) - day(b) AS DOUBLE) / 31 END""",
    """CREATE MACRO epoch_moment(n) AS
        make_timestamp(CAST(floor(CAST(n AS DECIMAL(38, 3)) * 1000) AS BIGINT) * 1000)""",
    """CREATE MACRO parsed_moment(s, moment, what) AS CASE
        WHEN s IS NULL THEN NULL
        WHEN moment IS NULL THEN error('Input text cannot be formatted to ' || what || ': ' || s)
        ELSE moment END""",
    # years of two digits lie between 50 years before and 49 after a pivot 30 years ago
    """CREATE MACRO within_short_years(t) AS
        CASE WHEN year(t) > year(now()) + 19 THEN t - to_years(100)
             WHEN year(t) < year(now()) - 80 THEN t + to_years(100) ELSE t END""",
)
ALL_MACROS = MACROS + TEXT_MACROS + NUMBER_MACROS + INTERVAL_MACROS + DATE_MACROS + LIST_MACROS
