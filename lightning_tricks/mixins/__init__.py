"""Mixins for LightningModules that compute their loss in plain sight."""
