"""The parts that all checks share: rules, findings, suppressions, reports, SARIF."""
