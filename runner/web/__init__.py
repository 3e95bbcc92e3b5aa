"""The live page: the report's page, fed by the state database while a run goes on."""
