"""The client's capture half: protocol, link, recorder, session files. Never imports torch."""
