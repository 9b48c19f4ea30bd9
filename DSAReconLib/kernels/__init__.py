"""The numerical kernels: functions of arrays without state, each with a plain torch reference."""
