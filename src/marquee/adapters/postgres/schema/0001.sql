-- One schema for every shard. The first one is the home of what all must agree on, of nominations
-- and of the ten; its parents "movie" and "listed" also reach the tables of the other shards.

-- On each shard: its number, of which set of shards it is, the prior that its rates are drawn by.
-- At home also: the number of slots.
CREATE TABLE agreed (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);

CREATE TABLE note (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);

-- At home: which shard holds a slot, and since which epoch.
CREATE TABLE slot_map (
    slot  smallint PRIMARY KEY,
    shard smallint NOT NULL,
    epoch bigint NOT NULL
);

-- The slots that this shard holds. Who writes to a slot locks its row; "moving": nobody may.
CREATE TABLE slot (
    no       smallint PRIMARY KEY,
    epoch    bigint NOT NULL,
    moving   boolean NOT NULL DEFAULT false,
    position bigint NOT NULL DEFAULT 0,
    mark     text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

-- ---- totals, by movie

CREATE TABLE applied (
    version  bigint NOT NULL,
    slot     smallint NOT NULL,
    value    smallint NOT NULL CHECK (value BETWEEN 1 AND 21),  -- half points; 21: removed
    before   smallint NOT NULL DEFAULT 21,                      -- the value before that
    movie_id text COLLATE "C" NOT NULL,
    rater    bytea NOT NULL
) PARTITION BY LIST (slot);

CREATE TABLE dead_letter (
    id      bigint PRIMARY KEY,
    raw     bytea NOT NULL,
    error   text NOT NULL,
    died_at bigint NOT NULL
);
CREATE SEQUENCE dead_letter_no;

-- A mean in tenths of a point, rounded half up, in integers (model.rate_tenths).
CREATE FUNCTION mean_tenths(number bigint, total bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN number > 0 THEN (50 * total + 5 * number) / (10 * number) END;

-- The same with the prior. Immutable, for its numbers change by "migrate" alone, which then draws
-- every rate anew.
CREATE FUNCTION rate_tenths(number bigint, total bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN number > 0
        THEN (50 * total + 10 * 650 + 5 * (number + 10)) / (10 * (number + 10)) END;

-- A movie and its totals in one row, so that the chart is an index. No title: a stub, in no chart
-- and no list, that holds the totals of a movie which the catalogue does not know (any more).
CREATE TABLE movie (
    number       bigint NOT NULL DEFAULT 0,
    total        bigint NOT NULL DEFAULT 0,  -- half points
    box_office   bigint,
    tmdb_id      bigint,
    rate         integer GENERATED ALWAYS AS (rate_tenths(number, total)) STORED,
    mean         integer GENERATED ALWAYS AS (mean_tenths(number, total)) STORED,
    year         integer,
    slot         smallint NOT NULL,
    id           text COLLATE "C" NOT NULL,
    title        text,
    imdb_id      text COLLATE "C",
    genres       text[] NOT NULL DEFAULT '{}',
    genre_keys   text[] COLLATE "C" NOT NULL DEFAULT '{}',  -- case folded
    distribution integer[] NOT NULL DEFAULT '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}'
) PARTITION BY LIST (slot);

-- What lists and search look at, apart from the totals: a rating must not touch these indexes.
CREATE TABLE listed (
    tmdb_id    bigint,
    year       integer,
    slot       smallint NOT NULL,
    id         text COLLATE "C" NOT NULL,
    title_key  text COLLATE "C" NOT NULL,
    imdb_id    text COLLATE "C",
    genre_keys text[] COLLATE "C" NOT NULL,
    words      tsvector NOT NULL
) PARTITION BY LIST (slot);

-- The tables of a slot, beside their parents as yet: what is not attached is not read.
CREATE FUNCTION make_slot(no integer) RETURNS void LANGUAGE plpgsql AS $make$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['applied', 'movie', 'listed'] LOOP
        EXECUTE format(
            'CREATE TABLE %1$s_%2$s (LIKE %1$s INCLUDING ALL, CHECK (slot = %2$s))', parent, no);
        EXECUTE format('ALTER TABLE %s_%s ALTER slot SET DEFAULT %2$s', parent, no);
    END LOOP;
    EXECUTE format('ALTER TABLE applied_%s SET (fillfactor = 80)', no);
    EXECUTE format('ALTER TABLE applied_%s ADD PRIMARY KEY (movie_id, rater)', no);
    EXECUTE format('ALTER TABLE movie_%s SET (fillfactor = 70)', no);
    EXECUTE format('ALTER TABLE movie_%s ADD PRIMARY KEY (id)', no);
    -- The year comes last to spare those that are not wanted the way to their row.
    EXECUTE format(
        'CREATE INDEX movie_%1$s_by_rate ON movie_%1$s '
        '(rate DESC, box_office DESC NULLS LAST, number DESC, id, year) '
        'WHERE title IS NOT NULL AND number > 0', no);
    EXECUTE format(
        'CREATE INDEX movie_%1$s_by_mean ON movie_%1$s '
        '(mean DESC, box_office DESC NULLS LAST, number DESC, id, year) '
        'WHERE title IS NOT NULL AND number > 0', no);
    EXECUTE format('ALTER TABLE listed_%s ADD PRIMARY KEY (id)', no);
    EXECUTE format('CREATE INDEX listed_%1$s_by_title ON listed_%1$s (title_key, id)', no);
    EXECUTE format('CREATE INDEX listed_%1$s_by_year ON listed_%1$s (year, title_key, id)', no);
    EXECUTE format('CREATE INDEX listed_%1$s_by_word ON listed_%1$s USING gin (words)', no);
    EXECUTE format('CREATE INDEX listed_%1$s_by_genre ON listed_%1$s USING gin (genre_keys)', no);
    EXECUTE format(
        'CREATE INDEX listed_%1$s_by_imdb ON listed_%1$s (imdb_id) WHERE imdb_id IS NOT NULL', no);
    EXECUTE format(
        'CREATE INDEX listed_%1$s_by_tmdb ON listed_%1$s (tmdb_id) WHERE tmdb_id IS NOT NULL', no);
END $make$;

CREATE FUNCTION attach_slot(no integer) RETURNS void LANGUAGE plpgsql AS $attach$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['applied', 'movie', 'listed'] LOOP
        EXECUTE format(
            'ALTER TABLE %1$s ATTACH PARTITION %1$s_%2$s FOR VALUES IN (%2$s)', parent, no);
    END LOOP;
END $attach$;

CREATE FUNCTION drop_slot(no integer) RETURNS void LANGUAGE plpgsql AS $drop$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS applied_%1$s, movie_%1$s, listed_%1$s', no);
    DELETE FROM slot WHERE slot.no = drop_slot.no;
END $drop$;

-- ---- at home

CREATE TABLE nomination (
    ceremony        integer NOT NULL,
    year            integer NOT NULL,
    won             boolean NOT NULL,
    title_key       text COLLATE "C" NOT NULL,
    title           text NOT NULL,
    year_label      text NOT NULL,
    additional_info text NOT NULL,
    movie_id        text COLLATE "C",
    PRIMARY KEY (ceremony, title_key)
);
CREATE INDEX nomination_by_movie ON nomination (movie_id, won) WHERE movie_id IS NOT NULL;

-- Changes of movies (here) and nominations, counted.
CREATE TABLE revision (number bigint NOT NULL);
INSERT INTO revision VALUES (0);

CREATE MATERIALIZED VIEW top10_rated_movie AS
SELECT ten.*,
    (SELECT bool_or(nomination.won) FROM nomination WHERE nomination.movie_id = ten.id) AS won
FROM (
    SELECT id, title, year, genres, box_office, imdb_id, tmdb_id, distribution, number, rate
    FROM movie
    WHERE title IS NOT NULL AND number > 0
    ORDER BY rate DESC, box_office DESC NULLS LAST, number DESC, id
    LIMIT 10
) AS ten;
CREATE UNIQUE INDEX ON top10_rated_movie (id);

-- The ten as it was when it last changed, and when it was last found true.
CREATE TABLE ten (content text NOT NULL, changed_at bigint NOT NULL, refreshed_at bigint NOT NULL);
INSERT INTO ten VALUES ('', 0, 0);
