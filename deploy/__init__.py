"""Everything that installs or stages the product. The product itself never imports it."""
