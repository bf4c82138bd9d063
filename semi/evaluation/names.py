"""What metrics are called in sentences and tables, everywhere."""

from __future__ import annotations

SINGLE_NAMES = {"accuracy": "accuracy", "waf": "WAF", "macro_f1": "macro-F1", "uar": "UAR"}
MULTI_NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1", "sample_f1": "F1 per row"}
AFFECT_NAMES = {"ccc": "CCC"}
METRIC_NAMES = SINGLE_NAMES | MULTI_NAMES | AFFECT_NAMES
