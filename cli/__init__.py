"""What pipelines and operators type: `kyma-upgrade`."""
