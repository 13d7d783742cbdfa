"""Commands for revisions and the switches of APIs: `apply`, `history`, `show`, `enable`, `status`."""
