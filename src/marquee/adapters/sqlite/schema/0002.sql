-- By what the log knows the last record that was folded.
ALTER TABLE position ADD COLUMN mark TEXT NOT NULL DEFAULT '';
