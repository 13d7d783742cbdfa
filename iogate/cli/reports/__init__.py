"""Report formats for continuous integration: JUnit XML, SARIF, GitHub annotations."""
