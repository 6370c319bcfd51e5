"""How fast is it, stage by stage, on this machine."""
