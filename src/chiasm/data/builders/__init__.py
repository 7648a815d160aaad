"""Builders of the default corpus: drawings, views, clips, phrases, speech and sounds from public sources."""
