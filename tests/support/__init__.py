"""What the tests share: servers good and bad, certificates, samples, gdl as a process."""
