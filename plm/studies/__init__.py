"""Many runs together: what they say, and how sure that is."""
