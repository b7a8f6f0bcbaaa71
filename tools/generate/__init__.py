"""Makes the generated files from the protos: stubs, the CRD, the page of all fields."""
