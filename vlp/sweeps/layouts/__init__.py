"""Layouts that evaluation sets lie in; each module opens one."""
