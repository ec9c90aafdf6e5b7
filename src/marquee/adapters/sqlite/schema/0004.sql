-- Of long titles, lists are ordered by the beginning alone, as on other stores.
UPDATE movie SET title_key = substr(title_key, 1, 250) WHERE length(title_key) > 250;
UPDATE movie_genre SET title_key = substr(title_key, 1, 250) WHERE length(title_key) > 250;
