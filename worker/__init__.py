"""Composition: process entry, settings, telemetry, registration. Imports everything below it."""
