-- What all processes agree on: the rater key, the priors.
CREATE TABLE agreed (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

-- ---- ratings, by user

CREATE TABLE rating (
    user_id  TEXT NOT NULL,
    movie_id TEXT NOT NULL,
    value    INTEGER NOT NULL CHECK (value BETWEEN 1 AND 21),  -- half points; 21: removed
    version  INTEGER NOT NULL,                                  -- microseconds since 1970
    PRIMARY KEY (user_id, movie_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, also after pruning
    movie_id TEXT NOT NULL,
    rater    BLOB NOT NULL,
    version  INTEGER NOT NULL,
    value    INTEGER NOT NULL
) STRICT;

CREATE TABLE erasure (
    rater   BLOB NOT NULL,
    version INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (rater, version)
) STRICT, WITHOUT ROWID;

-- The highest version in the file: where a new process begins, whatever its clock says.
CREATE TABLE clock (last INTEGER NOT NULL) STRICT;
INSERT INTO clock VALUES (0);

-- ---- totals, by movie

CREATE TABLE applied (
    movie_id TEXT NOT NULL,
    rater    BLOB NOT NULL,
    version  INTEGER NOT NULL,
    value    INTEGER NOT NULL,
    PRIMARY KEY (movie_id, rater)
) STRICT, WITHOUT ROWID;

CREATE TABLE position (partition INTEGER PRIMARY KEY, position INTEGER NOT NULL) STRICT;

CREATE TABLE dead_letter (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    raw     BLOB NOT NULL,
    error   TEXT NOT NULL,
    died_at INTEGER NOT NULL
) STRICT;

-- A movie and its totals in one row, so that the chart is an index. No title: a stub, in no chart
-- and no list, that holds the totals of a movie which the catalogue does not know (any more).
CREATE TABLE movie (
    no           INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    title        TEXT,
    title_key    TEXT,
    year         INTEGER,
    genres       TEXT NOT NULL DEFAULT '[]',
    box_office   INTEGER,
    imdb_id      TEXT,
    tmdb_id      INTEGER,
    distribution TEXT NOT NULL DEFAULT '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]',
    number       INTEGER NOT NULL DEFAULT 0,
    total        INTEGER NOT NULL DEFAULT 0,  -- half points
    rate         INTEGER,                     -- weighted, in tenths; null: no rating
    mean         INTEGER                      -- plain, in tenths
) STRICT;

-- The year comes last to spare those that are not wanted the way to their row.
CREATE INDEX movie_by_rate ON movie (rate DESC, box_office DESC, number DESC, id, year)
    WHERE title IS NOT NULL AND number > 0;
CREATE INDEX movie_by_mean ON movie (mean DESC, box_office DESC, number DESC, id, year)
    WHERE title IS NOT NULL AND number > 0;
CREATE INDEX movie_by_title ON movie (title_key, id) WHERE title IS NOT NULL;
CREATE INDEX movie_by_year ON movie (year, title_key, id) WHERE title IS NOT NULL;
CREATE INDEX movie_by_imdb ON movie (imdb_id) WHERE imdb_id IS NOT NULL;
CREATE INDEX movie_by_tmdb ON movie (tmdb_id) WHERE tmdb_id IS NOT NULL;

-- In the order of the list, so that a page of a genre is read straight off.
CREATE TABLE movie_genre (
    genre     TEXT NOT NULL,  -- case folded
    title_key TEXT NOT NULL,
    id        TEXT NOT NULL,
    PRIMARY KEY (genre, title_key, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX movie_genre_by_movie ON movie_genre (id);

CREATE VIRTUAL TABLE movie_words USING fts5 (
    words, tokenize = "unicode61 remove_diacritics 0", prefix = '1 2 3'
);

CREATE TABLE nomination (
    ceremony        INTEGER NOT NULL,
    title_key       TEXT NOT NULL,
    title           TEXT NOT NULL,
    year            INTEGER NOT NULL,
    year_label      TEXT NOT NULL,
    won             INTEGER NOT NULL,
    additional_info TEXT NOT NULL,
    movie_id        TEXT,
    PRIMARY KEY (ceremony, title_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX nomination_by_movie ON nomination (movie_id, won) WHERE movie_id IS NOT NULL;

-- Changes of movies and nominations, counted.
CREATE TABLE revision (number INTEGER NOT NULL) STRICT;
INSERT INTO revision VALUES (0);

-- The ten as it was when it last changed.
CREATE TABLE top10_rated_movie (chart TEXT NOT NULL, changed_at INTEGER NOT NULL) STRICT;
