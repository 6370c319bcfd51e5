"""Measurements that decided something: speed on a CPU, islands of half precision, another implementation's answers."""
