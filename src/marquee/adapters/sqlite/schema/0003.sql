-- Where in a trace a rating was acknowledged, as traceparent; null: in none.
ALTER TABLE outbox ADD COLUMN trace TEXT;
