-- {schema}: the schema of the views. {critical}: a condition on processor_name and field.
-- what each function is: see duckdb.sql
CREATE OR REPLACE FUNCTION {schema}.wilson_low(p double precision, n double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT greatest(
        0,
        (p + 1.9207294103470623 / n - 1.959963984540054 * sqrt(p * (1 - p) / n + 0.9603647051735311 / (n * n)))
        / (1 + 3.8414588206941245 / n)
    )
$$;
CREATE OR REPLACE FUNCTION {schema}.wilson_high(p double precision, n double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(
        1,
        (p + 1.9207294103470623 / n + 1.959963984540054 * sqrt(p * (1 - p) / n + 0.9603647051735311 / (n * n)))
        / (1 + 3.8414588206941245 / n)
    )
$$;
CREATE OR REPLACE FUNCTION {schema}.design_effect(
    documents double precision, n double precision, x double precision, nn double precision, nx double precision,
    xx double precision
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT greatest(
        1,
        CASE
            WHEN documents < 2 OR x IN (0, n) THEN n / documents
            ELSE (1 + 2.4207294103470623 / (documents - 1)) * documents / (documents - 1)
                * (xx - 2 * (x / n) * nx + (x / n) * (x / n) * nn) / (n * (x / n) * (1 - x / n))
        END
    )
$$;
-- of bytes, as DuckDB's levenshtein. PostgreSQL's own one is in an extension that only some users may install
CREATE OR REPLACE FUNCTION {schema}.edit_distance(one text, other text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    a bytea := convert_to(one, 'UTF8');
    b bytea := convert_to(other, 'UTF8');
    above integer[];
    here integer[];
BEGIN
    SELECT array_agg(n ORDER BY n) INTO above FROM generate_series(0, length(b)) AS n;
    FOR i IN 1..length(a) LOOP
        here := ARRAY[i];
        FOR j IN 1..length(b) LOOP
            here := here || least(
                above[j + 1] + 1,
                here[j] + 1,
                above[j] + (get_byte(a, i - 1) <> get_byte(b, j - 1))::integer
            );
        END LOOP;
        above := here;
    END LOOP;
    RETURN above[length(b) + 1];
END $$;
CREATE OR REPLACE FUNCTION {schema}.amount_of(given text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN given LIKE '%"amount"%' AND given LIKE '%"iso_4217_currency_code"%'
            THEN regexp_replace(given, '^.*"amount"\s*:\s*"?([^",}\s]*).*$', '\1')
    END
$$;
CREATE OR REPLACE FUNCTION {schema}.currency_of(given text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN given LIKE '%"iso_4217_currency_code"%'
            THEN replace(regexp_replace(given, '^.*"iso_4217_currency_code"\s*:\s*"?([^",}\s]*).*$', ' \1'), ' null', '')
        ELSE ''
    END
$$;
CREATE OR REPLACE FUNCTION {schema}.fold(given text, other text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN given ~ '^[-+]?(0|[1-9][0-9]{0,2}([,'' ][0-9]{3})+|[1-9][0-9]*)([.][0-9]+)?$'
            AND other ~ '^[-+]?(0|[1-9][0-9]{0,2}([,'' ][0-9]{3})+|[1-9][0-9]*)([.][0-9]+)?$'
            THEN regexp_replace(regexp_replace(given, '[,'' +]', '', 'g'), '[.]0*$|([.][0-9]*[1-9])0+$', '\1')
        ELSE lower(regexp_replace(
            regexp_replace(given, '([0-9])[.,]([0-9][0-9]?($|[^0-9.,]))', '\1_\2', 'g'), '[\s,.''/-]', '', 'g'
        ))
    END
$$;
CREATE OR REPLACE FUNCTION {schema}.is_critical(processor_name text, field text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT {critical} $$;
